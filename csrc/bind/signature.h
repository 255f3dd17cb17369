// Functions of a backend under pyref's names, with the arguments and defaults that pyref's own have: those are written
// once, there.
#pragma once

#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

namespace relprop::bind {

namespace py = pybind11;

// What Python knows of the arguments of pyref's function of this name.
struct Signature {
  explicit Signature(const char* name)
      : function(py::module_::import("pyref").attr(name)),
        names(function.attr("__code__").attr("co_varnames")),
        positional(py::cast<std::size_t>(function.attr("__code__").attr("co_argcount"))),
        count(positional + py::cast<std::size_t>(function.attr("__code__").attr("co_kwonlyargcount"))) {}

  // The default of argument i; null where it has none.
  py::object by_default(std::size_t i) const {
    const py::object of_last = function.attr("__defaults__"), of_keywords = function.attr("__kwdefaults__");
    if (i >= positional) return of_keywords.is_none() ? py::object() : py::object(of_keywords.attr("get")(names[i]));
    const std::size_t last = of_last.is_none() ? 0 : py::len(of_last);
    return i + last < positional ? py::object() : py::object(of_last[py::int_(i + last - positional)]);
  }

  py::object function;
  py::tuple names;  // and those of local variables
  std::size_t positional, count;
};

// Adds f to a module as pyref's function of this name.
template <class F>
void def(py::module_& module, const char* name, F&& f);

}  // namespace relprop::bind

namespace pybind11::detail {

template <>
struct process_attribute<relprop::bind::Signature> : process_attribute_default<relprop::bind::Signature> {
  static void init(const relprop::bind::Signature& of, function_record* record) {
    for (std::size_t i = 0; i < of.count; ++i) {
      if (i == of.positional) process_attribute<kw_only>::init(kw_only(), record);
      const char* name = PyUnicode_AsUTF8(object(of.names[i]).ptr());
      if (const object value = of.by_default(i))
        process_attribute<arg_v>::init(arg_v(name, value), record);
      else
        process_attribute<arg>::init(arg(name), record);
    }
  }
};

}  // namespace pybind11::detail

namespace relprop::bind {

template <class Answer, class... Arguments>
constexpr std::size_t arity(Answer (*)(Arguments...)) {
  return sizeof...(Arguments);
}

template <class F>
void def(py::module_& module, const char* name, F&& f) {
  using Function = py::detail::function_signature_t<F>;
  const Signature signature(name);
  if (signature.count != arity(static_cast<Function*>(nullptr)))
    throw std::logic_error(std::string(name) + " takes another number of arguments than pyref's");
  module.def(name, std::forward<F>(f), signature);
}

}  // namespace relprop::bind
