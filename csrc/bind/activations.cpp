// pyref's activations, read field by field, and their scalar functions over arrays.
#include "activation.h"

using namespace relprop::bind;
using namespace relprop::math;

namespace {

// Which channel (axis 1) an element of z belongs to.
struct Channels {
  py::ssize_t count = 1, inner = 1;

  explicit Channels(const py::array& z) {
    if (z.ndim() > 1) count = z.shape(1);
    for (py::ssize_t axis = 2; axis < z.ndim(); ++axis) inner *= z.shape(axis);
  }
  py::ssize_t of(py::ssize_t i) const { return i / inner % count; }
};

// y = f(activation, i) for each element i of z. The activation is the struct of the same name, its fields read from
// the dataclass; one with a slope per channel is a struct per channel.
template <class T, class F>
py::object map_activation(py::handle activation, const py::array& z, F&& f) {
  auto out = empty_like<T>(z);
  const auto run = [&](const auto& of) {
    for (py::ssize_t i = 0; i < out.size(); ++i) out.mutable_data()[i] = f(of(i), i);
    return out;
  };
  if (is_prelu(activation)) {
    const Channels channels(z);
    const auto slope = Array<T>(py::cast<py::array>(activation.attr("slope")));
    if (slope.size() != 1 && slope.size() != channels.count)
      throw py::value_error("slope has " + std::to_string(slope.size()) + " values, expected " + std::to_string(channels.count));
    return run([&](py::ssize_t i) { return PReLU<T>{{slope.data()[slope.size() == 1 ? 0 : channels.of(i)]}}; });
  }
  return with_activation<T>(activation, [&](const auto& compiled) -> py::object {
    return run([&](py::ssize_t) { return compiled; });
  });
}

// y = f(activation, z, other) for each element.
template <class F>
py::object map_pair(py::handle activation, const py::array& z, const char* name, const py::array& other, F&& f) {
  return with_dtype("z", z, [&](auto zero) {
    using T = decltype(zero);
    const auto in = matching<T>("z", z, z), second = matching<T>(name, other, z);
    return map_activation<T>(activation, z, [&](const auto& a, py::ssize_t i) { return f(a, in.data()[i], second.data()[i]); });
  });
}

template <class F>
py::object map_one(py::handle activation, const py::array& z, F&& f) {
  return map_pair(activation, z, "z", z, [&](const auto& a, auto v, auto) { return f(a, v); });
}

py::object value(py::handle activation, const py::array& z) {
  return map_one(activation, z, [](const auto& a, auto v) { return a.value(v); });
}

py::object derivative(py::handle activation, const py::array& z) {
  return map_one(activation, z, [](const auto& a, auto v) { return a.derivative(v); });
}

py::object ratio(py::handle activation, const py::array& z, double epsilon) {
  return map_one(activation, z, [&](const auto& a, auto v) { return activation_ratio(a, v, static_cast<decltype(v)>(epsilon)); });
}

py::object quotient(py::handle activation, const py::array& z, const py::array& z0) {
  return map_pair(activation, z, "z0", z0, [](const auto& a, auto v, auto v0) { return a.quotient(v, v0); });
}

py::object guided_gradient(py::handle activation, const py::array& z, const py::array& G) {
  return map_pair(activation, z, "G", G, [](const auto& a, auto v, auto g) { return guided(a, v, g); });
}

py::object rectified_gradient(py::handle activation, const py::array& z, const py::array& G) {
  return map_pair(activation, z, "G", G, [](const auto& a, auto v, auto g) { return rectified(a, v, g); });
}

// (name, fields) of every compiled activation, in the order of FOR_EACH_ACTIVATION.
py::list list() {
  py::list all;
#define RELPROP_ADD(Activation) all.append(py::make_tuple(Activation<double>::name, field_names<Activation<double>>()));
  FOR_EACH_ACTIVATION(RELPROP_ADD)
#undef RELPROP_ADD
  return all;
}

bool zero_at_zero(py::handle activation) {
  bool answer = false;
  map_activation<double>(activation, py::array_t<double>(1), [&](const auto& a, py::ssize_t) {
    answer = a.zero_at_zero();
    return double(answer);
  });
  return answer;
}

}  // namespace

void bind_activations(py::module_& module) {
  using namespace py::literals;
  module.def("activation_list", &list);
  module.def("activation_zero_at_zero", &zero_at_zero, "activation"_a);
  module.def("activation_value", &value, "activation"_a, "z"_a);
  module.def("activation_derivative", &derivative, "activation"_a, "z"_a);
  module.def("activation_ratio", &ratio, "activation"_a, "z"_a, "epsilon"_a = 0);
  module.def("activation_quotient", &quotient, "activation"_a, "z"_a, "z0"_a);
  module.def("activation_guided", &guided_gradient, "activation"_a, "z"_a, "G"_a);
  module.def("activation_rectified", &rectified_gradient, "activation"_a, "z"_a, "G"_a);
}
