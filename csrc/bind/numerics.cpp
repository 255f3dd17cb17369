#include "math/numerics.h"

#include "elementwise.h"

using namespace relprop::bind;
using namespace relprop::math;

namespace {

// y = f(x) for each element.
template <class F>
py::object map(const char* name, const py::array& x, F&& f) {
  return with_dtype(name, x, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto in = matching<T>(name, x, x);
    auto out = empty_like<T>(x);
    for (py::ssize_t i = 0; i < in.size(); ++i) out.mutable_data()[i] = f(in.data()[i]);
    return out;
  });
}

// σ_ε(z) or its excess; mean_square (of z over its sample, in the shape of z) takes part under "rms" only.
template <class F>
py::object map_stabilizer(const py::array& z, double epsilon, const std::string& stabilizer, const py::object& mean_square, F&& f) {
  const auto mode = option<Stabilizer>("stabilizer", stabilizer);
  if (mode == Stabilizer::rms && mean_square.is_none()) throw py::type_error("stabilizer 'rms' needs mean_square");
  return with_dtype("z", z, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto in = matching<T>("z", z, z);
    const auto square = mode == Stabilizer::rms ? matching<T>("mean_square", py::array(mean_square), z) : in;
    auto out = empty_like<T>(z);
    for (py::ssize_t i = 0; i < in.size(); ++i)
      out.mutable_data()[i] = f(in.data()[i], acting_epsilon(static_cast<T>(epsilon), mode, square.data()[i]), mode);
    return out;
  });
}

py::object bound_safe_divide(const py::array& numerator, const py::array& denominator) {
  return with_dtype("numerator", numerator, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto a = matching<T>("numerator", numerator, numerator);
    const auto b = matching<T>("denominator", denominator, numerator);
    auto out = empty_like<T>(numerator);
    for (py::ssize_t i = 0; i < a.size(); ++i) out.mutable_data()[i] = safe_divide(a.data()[i], b.data()[i]);
    return out;
  });
}

}  // namespace

void bind_numerics(py::module_& module) {
  using namespace py::literals;
  module.def("numerics_pos", [](const py::array& v) { return map("v", v, [](auto x) { return pos(x); }); }, "v"_a);
  module.def("numerics_neg", [](const py::array& v) { return map("v", v, [](auto x) { return neg(x); }); }, "v"_a);
  module.def("numerics_sign", [](const py::array& z) { return map("z", z, [](auto x) { return sign(x); }); }, "z"_a);
  module.def("numerics_safe_divide", &bound_safe_divide, "numerator"_a, "denominator"_a);
  module.def(
      "numerics_stabilize",
      [](const py::array& z, double epsilon, const std::string& stabilizer, const py::object& mean_square) {
        return map_stabilizer(z, epsilon, stabilizer, mean_square, [](auto x, auto e, Stabilizer m) { return stabilize(x, e, m); });
      },
      "z"_a, "epsilon"_a, "stabilizer"_a = "add", "mean_square"_a = py::none());
  module.def(
      "numerics_stabilizer_excess",
      [](const py::array& z, double epsilon, const std::string& stabilizer, const py::object& mean_square) {
        return map_stabilizer(z, epsilon, stabilizer, mean_square,
                              [](auto x, auto e, Stabilizer m) { return stabilizer_excess(x, e, m); });
      },
      "z"_a, "epsilon"_a, "stabilizer"_a = "add", "mean_square"_a = py::none());
}
