// pyref's activations as the structs of csrc/math.
#pragma once

#include "fields.h"
#include "relprop/activation.h"

namespace relprop::bind {

// Whether an activation is one of pyref's own: another class may define f as it likes.
inline bool is_own(py::handle activation) {
  return py::str(py::type::of(activation).attr("__module__")).equal(py::str("pyref.layers.activation"));
}

// PReLU's slopes are an array, and read by whoever knows of which kind.
inline bool is_prelu(py::handle activation) {
  return py::str(activation.attr("name")).equal(py::str(math::PReLU<float>::name));
}

// Calls f(activation) with the struct of the same name, its fields read from the dataclass; none of PReLU.
template <class T, class F>
auto with_activation(py::handle activation, F&& f) -> decltype(f(math::Identity<T>{})) {
  const auto name = py::cast<std::string>(activation.attr("name"));
#define RELPROP_WHERE_NAMED(Activation)                                                                         \
  if (name == math::Activation<T>::name) {                                                                      \
    math::Activation<T> compiled{};                                                                             \
    if constexpr (!std::is_same_v<math::Activation<T>, math::PReLU<T>>) read_fields(activation, compiled);      \
    return f(compiled);                                                                                         \
  }
  FOR_EACH_ACTIVATION(RELPROP_WHERE_NAMED)
#undef RELPROP_WHERE_NAMED
  throw py::value_error("activation '" + name + "' is not compiled");
}

}  // namespace relprop::bind
