#include "activation.h"

#include "door.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// The slopes of PReLU, which are an array.
std::optional<py::array> slopes_of(const py::object& activation) {
  if (!is_prelu(activation)) return std::nullopt;
  return floats("slope", activation.attr("slope"));
}

// The activation for a z of this shape, and the array that it points to.
template <class T>
struct ActivationFor {
  cpu::ActivationOf<T> of;
  std::optional<Packed<T>> slopes;

  ActivationFor(const py::object& activation, const py::array& z, const std::optional<py::array>& slope)
      : of{1, 1, 1, {}}, slopes(packed<T>(slope)) {
    for (int axis = 0; axis < z.ndim(); ++axis)
      (axis == 0 ? of.samples : axis == 1 ? of.channels : of.positions) *= z.shape(axis);
    if (slopes) {
      if (slopes->size() != 1 || slope->ndim() != 1)
        check_shape("slope", *slope, z.ndim() > 1 ? std::vector<Index>{of.channels} : std::vector<Index>{});
      of.activation = math::PReLU<T>{{slopes->size() == 1 ? slopes->data()[0] : T(0)}};
      of.slopes = slopes->size() == 1 ? nullptr : slopes->data();
      return;
    }
    with_activation<T>(activation, [&](const auto& compiled) { of.activation = compiled; });
  }
};

// The array that f(activation, pointer to it) fills from `arrays`, in the shape of z.
template <class T, class F, class... Arrays>
py::object filled(const py::object& activation, const py::array& z, const std::optional<py::array>& slope, const F& f,
                  const Arrays&... arrays) {
  const ActivationFor<T> made(activation, z, slope);
  auto out = empty<T>(shape_of(z));
  compute([f, of = made.of, data = out.mutable_data()] { f(of, data); }, made.slopes, arrays..., out);
  return out;
}

py::object activation_forward(const py::object& z_, const py::object& activation) {
  if (!is_own(activation)) return reference("activation_forward", z_, activation);
  const auto z = floats("z", z_);
  const auto slope = slopes_of(activation);
  return with_widest({z, slope.value_or(z)}, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Packed<T> z_data(z);
    return filled<T>(activation, z, slope,
                     [in = z_data.data()](const auto& of, T* out) { cpu::activation_forward(of, in, out); }, z_data);
  });
}

// f′(z) times a signal, which is called `name` and has z's shape.
py::object times_derivative(const char* name, const py::object& z_, const py::object& activation, const py::object& signal_) {
  const auto z = floats("z", z_), signal = floats(name, signal_);
  check_shape(name, signal, shape_of(z));
  const auto slope = slopes_of(activation);
  return with_widest({z, signal, slope.value_or(z)}, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Packed<T> z_data(z), signal_data(signal);
    return filled<T>(activation, z, slope, [z_in = z_data.data(), in = signal_data.data()](const auto& of, T* out) {
      cpu::activation_gradient(of, z_in, in, out);
    }, z_data, signal_data);
  });
}

py::object activation_gradient(const py::object& z, const py::object& activation, const py::object& G) {
  if (!is_own(activation)) return reference("activation_gradient", z, activation, G);
  return times_derivative("G", z, activation, G);
}

py::object activation_tangent(const py::object& z, const py::object& activation, const py::object& dz) {
  if (!is_own(activation)) return reference("activation_tangent", z, activation, dz);
  return times_derivative("dz", z, activation, dz);
}

py::object activation_relevance(const py::object& z, const py::object&, const py::object& R) {
  check_shape("R", floats("R", R), shape_of(floats("z", z)));
  return R;
}

py::object activation_ratio(const py::object& z_, const py::object& activation, const py::object& epsilon) {
  const auto by_pyref = [&] { return reference("activation_ratio", z_, activation, epsilon); };
  if (!is_own(activation)) return by_pyref();
  const auto z = floats("z", z_);
  const auto slope = slopes_of(activation);
  return with_widest({z, slope.value_or(z)}, [&](auto zero) -> py::object {
    using T = decltype(zero);
    T acting{};
    read_field("epsilon", epsilon, acting);
    const Packed<T> z_data(z);
    if (cpu::activation_has_pole(ActivationFor<T>(activation, z, slope).of, z_data.data(), acting)) return by_pyref();  // raises
    return filled<T>(activation, z, slope,
                     [in = z_data.data(), acting](const auto& of, T* out) { cpu::activation_ratio(of, in, acting, out); });
  });
}

py::object activation_quotient(const py::object& z_, const py::object& z0_, const py::object& activation) {
  if (!is_own(activation)) return reference("activation_quotient", z_, z0_, activation);
  auto z = floats("z", z_), z0 = floats("z0", z0_);
  const bool one_z0 = z.ndim() > 1 && z0.ndim() == z.ndim() && z0.shape(0) == 1 && z.shape(0) != 1 &&
                      std::equal(z.shape() + 1, z.shape() + z.ndim(), z0.shape() + 1);
  if (!one_z0 && shape_of(z) != shape_of(z0)) {  // as NumPy broadcasts
    try {
      const py::sequence both = py::module_::import("numpy").attr("broadcast_arrays")(z, z0);
      z = py::cast<py::array>(both[0]);
      z0 = py::cast<py::array>(both[1]);
    } catch (const py::error_already_set&) {
      return reference("activation_quotient", z_, z0_, activation);  // raises in pyref's words
    }
  }
  const auto slope = slopes_of(activation);
  return with_widest({z, z0, slope.value_or(z)}, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Packed<T> z_data(z), z0_data(z0);
    return filled<T>(
        activation, z, slope,
        [one_z0, z_in = z_data.data(), z0_in = z0_data.data()](const auto& of, T* out) {
          cpu::activation_quotient(of, z_in, z0_in, one_z0, out);
        },
        z_data, z0_data);
  });
}

}  // namespace

void bind_activation(py::module_& cpu) {
  def(cpu, "activation_forward", &activation_forward);
  def(cpu, "activation_gradient", &activation_gradient);
  def(cpu, "activation_tangent", &activation_tangent);
  def(cpu, "activation_relevance", &activation_relevance);
  def(cpu, "activation_ratio", &activation_ratio);
  def(cpu, "activation_quotient", &activation_quotient);
}
