// The door of the kernels: each argument is checked on one line, in pyref's words, and becomes a pointer.
#pragma once

#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "chain.h"
#include "machine/memory.h"
#include "relprop/account.h"
#include "rule.h"
#include "signature.h"

namespace relprop::bind {

// A length that an argument must have; `any` fits all.
constexpr Index any = -1;

// Raises pyref.check.check_shape's ValueError unless x has the expected shape.
inline void check_shape(const char* name, const py::array& x, const std::vector<Index>& expected) {
  bool fits = static_cast<std::size_t>(x.ndim()) == expected.size();
  for (std::size_t d = 0; fits && d < expected.size(); ++d)
    fits = expected[d] == any || expected[d] == static_cast<Index>(x.shape(static_cast<int>(d)));
  if (fits) return;
  py::tuple wanted(expected.size());
  for (std::size_t d = 0; d < expected.size(); ++d)
    wanted[d] = expected[d] == any ? py::object(py::none()) : py::object(py::int_(expected[d]));
  py::module_::import("pyref.check").attr("check_shape")(name, x, wanted);
}

// The argument as a NumPy array of float32 or float64; pyref.check.check_float's TypeError for any other.
inline py::array floats(const char* name, const py::object& x) {
  if (py::isinstance<py::array_t<float>>(x) || py::isinstance<py::array_t<double>>(x)) return py::cast<py::array>(x);
  py::module_::import("pyref.check").attr("check_float")(name, x);
  const auto dtype = py::str(x.attr("dtype")).cast<std::string>();
  throw py::type_error(std::string(name) + " has dtype " + dtype + ", expected float32 or float64; use " + name +
                       ".astype('float64')");
}

// The same, or null for None.
inline std::optional<py::array> floats_or_none(const char* name, const py::object& x) {
  if (x.is_none()) return std::nullopt;
  return floats(name, x);
}

// The option that a word names; pyref.check.check_choice's ValueError for any other.
template <class E>
E choice(const char* name, const py::object& word) {
  const auto known = words(E{});
  for (std::size_t i = 0; i < known.size() && py::isinstance<py::str>(word); ++i)
    if (PyUnicode_CompareWithASCIIString(word.ptr(), known[i]) == 0) return static_cast<E>(i);
  py::tuple all(known.size());
  for (std::size_t i = 0; i < known.size(); ++i) all[i] = known[i];
  py::module_::import("pyref.check").attr("check_choice")(name, word, all);
  throw py::value_error(std::string(name) + " is an option that the compiled code does not know");
}

// pyref's own function, for what is not compiled and for what it refuses.
template <class... Args>
py::object reference(const char* function, const Args&... args) {
  return py::module_::import("pyref").attr(function)(args...);
}

// Calls f(T{}) with the widest type among the arrays, as NumPy promotes.
template <class F>
py::object with_widest(const std::vector<py::array>& arrays, F&& f) {
  for (const auto& a : arrays)
    if (py::isinstance<py::array_t<double>>(a)) return f(double{});
  return f(float{});
}

// The argument's numbers in C order without gaps: its own where they are so already, else a copy.
template <class T>
using Packed = py::array_t<T, py::array::c_style | py::array::forcecast>;

// Whether x, and z where it is known, are one sample many times over, in the memory of one.
inline bool is_one_sample(const py::array& x, const std::optional<py::array>& z) {
  const auto is_one = [](const py::array& v) { return v.ndim() > 0 && v.shape(0) > 1 && v.strides(0) == 0; };
  return is_one(x) && (!z || is_one(*z));
}
inline py::array first_sample(const py::array& x) { return x[py::slice(0, 1, 1)]; }

template <class T>
std::optional<Packed<T>> packed(const std::optional<py::array>& x) {
  if (!x) return std::nullopt;
  return Packed<T>(*x);
}

template <class T>
const T* pointer(const std::optional<Packed<T>>& x) {
  return x ? x->data() : nullptr;
}

template <class T>
const Account<T>* pointer(const std::optional<Account<T>>& account) {
  return account ? &*account : nullptr;
}

template <class T>
Packed<T> empty(const std::vector<Index>& shape) {
  return Packed<T>(std::vector<py::ssize_t>(shape.begin(), shape.end()));
}

inline std::vector<Index> shape_of(const py::array& x) { return {x.shape(), x.shape() + x.ndim()}; }

// How a door in host memory takes an array, and one of a given shape. The doors of layers that are written for any device
// get it from here, or from InDeviceMemory of cuda/door.h.
struct InHostMemory {
  using Array = py::array;
  static Array array(const char* name, const py::object& x) { return floats(name, x); }
  static Array array(const char* name, const py::object& x, const std::vector<Index>& shape) {
    auto given = floats(name, x);
    check_shape(name, given, shape);
    return given;
  }
};

// Whether a function holds what it uses by value, so that a chain may call it again.
enum class Repeats { no, yes };

// New arrays of the shapes, in the widest dtype, which f(pointers to the numbers of `arrays`, pointers to the new
// ones) fills without the GIL.
template <Repeats repeats = Repeats::no, class F>
std::vector<py::array> filled(const std::vector<py::array>& arrays, const std::vector<std::vector<Index>>& shapes, F&& f) {
  std::vector<py::array> all;
  with_widest(arrays, [&](auto zero) -> py::object {
    using T = decltype(zero);
    std::vector<Packed<T>> in;
    std::vector<const T*> from;
    std::vector<T*> to;
    for (const auto& a : arrays) from.push_back(in.emplace_back(a).data());
    for (const auto& shape : shapes) {
      auto out = empty<T>(shape);
      to.push_back(out.mutable_data());
      all.push_back(out);
    }
    if constexpr (repeats == Repeats::yes) {
      compute([f, from, to] { f(from.data(), to.data()); }, in, all);
    } else {
      py::gil_scoped_release release;
      f(from.data(), to.data());
    }
    return py::object();
  });
  return all;
}

// The shape of x with another last axis.
inline std::vector<Index> with_last(const py::array& x, Index last) {
  auto shape = shape_of(x);
  shape.back() = last;
  return shape;
}

// A rule for a layer whose input is x, with the bounds of a box as arrays.
template <class T>
struct RuleFor {
  AnyRule<T> rule;
  Bounds<T> bounds;
  std::vector<Packed<T>> kept_alive;
};

template <class T>
RuleFor<T> rule_for(const py::object& rule, const Packed<T>& x) {
  const auto is_bound = [](const char* field) { return std::strcmp(field, "low") == 0 || std::strcmp(field, "high") == 0; };
  RuleFor<T> made{with_rule<T>(rule, [](const auto& compiled) -> AnyRule<T> { return compiled; }, is_bound), {}, {}};
  if (const auto* box = std::get_if<math::ZBox<T>>(&made.rule)) {
    const py::tuple sample = py::cast<py::tuple>(x.attr("shape")[py::slice(1, x.ndim(), 1)]);
    const auto numpy = py::module_::import("numpy");
    for (const char* field : {"low", "high"})
      made.kept_alive.push_back(Packed<T>(numpy.attr("broadcast_to")(rule.attr(field), sample)));
    made.bounds = {made.kept_alive[0].data(), made.kept_alive[1].data()};
    if (box->out_of_range == math::OutOfRange::raise) {
      const Index samples = x.shape(0), size = made.kept_alive[0].size();
      bool inside = true;
      for (Index n = 0; n < samples; ++n)
        for (Index i = 0; i < size; ++i) {
          const T v = x.data()[n * size + i];
          inside &= !(v < made.bounds.low[i] || v > made.bounds.high[i]);
        }
      if (!inside) rule.attr("input_part")(0, x);  // raises
    }
  }
  return made;
}

// Pass: R itself where it has the shape of the one input x.
inline py::object pass(const py::array& x, const py::array& R) {
  if (shape_of(x) != shape_of(R))
    throw py::value_error("rule Pass needs one input of the output's shape; give this node another rule");
  return R;
}

// What a relevance kernel writes for pyref's Account, handed over by `write`.
template <class T>
class AccountFor {
 public:
  AccountFor(const py::object& account, const py::array& R, bool has_bias)
      : account_(account),
        is_wanted_(!account.is_none()),
        bias_(empty<T>(is_wanted_ && has_bias ? shape_of(R) : std::vector<Index>{0})),
        stabilizer_(empty<T>({is_wanted_ ? static_cast<Index>(R.shape(0)) : 0})),
        dropped_(empty<T>({is_wanted_ ? static_cast<Index>(R.shape(0)) : 0})),
        has_bias_(has_bias) {
    raw_ = {has_bias ? bias_.mutable_data() : nullptr, stabilizer_.mutable_data(), dropped_.mutable_data()};
  }
  const Account<T>* pointer() const { return is_wanted_ ? &raw_ : nullptr; }
  // The same for work that outlives this: `bind::pointer` of it.
  std::optional<Account<T>> copied() const { return is_wanted_ ? std::optional(raw_) : std::nullopt; }
  std::vector<py::array> arrays() const { return {bias_, stabilizer_, dropped_}; }

  void write() const {
    if (!is_wanted_) return;
    account_.attr("add_kept")(stabilizer_, dropped_);
    if (has_bias_) account_.attr("add_bias")(bias_);
  }

 private:
  py::object account_;
  bool is_wanted_;
  Packed<T> bias_, stabilizer_, dropped_;
  bool has_bias_;
  Account<T> raw_{};
};

}  // namespace relprop::bind
