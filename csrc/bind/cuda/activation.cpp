#include "cuda/activation.h"

#include <pybind11/stl.h>

#include <utility>

#include "bind/activation.h"
#include "door.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// One of pyref's own: another class may define f as it likes, and has no kernel.
void check_compiled(const char* operation, const py::object& activation) {
  if (is_own(activation)) return;
  const auto name = py::str(py::type::of(activation).attr("__qualname__")).cast<std::string>();
  throw std::runtime_error(std::string(operation) + " has no CUDA kernel for " + name);
}

// The slopes of PReLU, which are an array.
Argument slopes_of(const py::object& activation) {
  return or_none("slope", is_prelu(activation) ? py::object(activation.attr("slope")) : py::object(py::none()));
}

// The activation for a z of this shape.
template <class T>
cuda::ActivationOf<T> activation_for(Call& call, const py::object& activation, const std::vector<Index>& shape, const Argument& slope) {
  cuda::ActivationOf<T> of{1, 1, 1, {}};
  for (std::size_t axis = 0; axis < shape.size(); ++axis)
    (axis == 0 ? of.samples : axis == 1 ? of.channels : of.positions) *= shape[axis];
  if (slope) {
    const bool one = slope.shape() == std::vector<Index>{1};
    if (!one) check_shape(slope, shape.size() > 1 ? std::vector<Index>{of.channels} : std::vector<Index>{});
    of.activation = math::PReLU<T>{};
    of.slopes = call.in<T>(slope);
    if (one) of.positions *= std::exchange(of.channels, 1);
    return of;
  }
  with_activation<T>(activation, [&](const auto& compiled) { of.activation = compiled; });
  return of;
}

py::object activation_forward(const py::object& z_, const py::object& activation) {
  check_compiled("activation_forward", activation);
  const Argument z("z", z_), slope = slopes_of(activation);
  Call call("activation_forward", {&z, &slope});
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const auto of = activation_for<T>(call, activation, z.shape(), slope);
    const T* z_data = call.in<T>(z);
    const auto a = call.out<T>(z.shape());
    call.run([&] { cuda::activation_forward(call.operation(), call.stream(), of, z_data, a.data()); });
    return call.give(a);
  });
}

// f′(z) times a signal, which has z's shape.
py::object times_derivative(const char* operation, const py::object& z_, const py::object& activation, const Argument& signal) {
  check_compiled(operation, activation);
  const Argument z("z", z_), slope = slopes_of(activation);
  check_shape(signal, z.shape());
  Call call(operation, {&z, &signal, &slope});
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const auto of = activation_for<T>(call, activation, z.shape(), slope);
    const T *z_data = call.in<T>(z), *in = call.in<T>(signal);
    const auto G_z = call.out<T>(z.shape());
    call.run([&] { cuda::activation_gradient(call.operation(), call.stream(), of, z_data, in, G_z.data()); });
    return call.give(G_z);
  });
}

py::object activation_gradient(const py::object& z, const py::object& activation, const py::object& G) {
  return times_derivative("activation_gradient", z, activation, Argument("G", G));
}

py::object activation_tangent(const py::object& z, const py::object& activation, const py::object& dz) {
  return times_derivative("activation_tangent", z, activation, Argument("dz", dz));
}

py::object activation_relevance(const py::object& z, const py::object&, const py::object& R) {
  check_shape(Argument("R", R), Argument("z", z).shape());
  return R;
}

py::object activation_ratio(const py::object& z_, const py::object& activation, const py::object& epsilon) {
  check_compiled("activation_ratio", activation);
  const Argument z("z", z_), slope = slopes_of(activation);
  Call call("activation_ratio", {&z, &slope});
  return call.with_widest([&](auto zero) -> py::object {
    using T = decltype(zero);
    T acting{};
    read_field("epsilon", epsilon, acting);
    const auto of = activation_for<T>(call, activation, z.shape(), slope);
    const T* z_data = call.in<T>(z);
    bool has_pole = false;
    call.run([&] { has_pole = cuda::activation_has_pole(call.operation(), call.stream(), of, z_data, acting); });
    if (has_pole) return py::module_::import("pyref").attr("activation_ratio")(on_host(z), activation, epsilon);  // raises
    const auto g = call.out<T>(z.shape());
    call.run([&] { cuda::activation_ratio(call.operation(), call.stream(), of, z_data, acting, g.data()); });
    return call.give(g);
  });
}

// The shape that z and z0 broadcast to, as NumPy does it.
std::vector<Index> joint_shape(const Argument& z, const Argument& z0, const py::object& activation) {
  if (z.shape() == z0.shape()) return z.shape();
  const py::module_ numpy = py::module_::import("numpy");
  try {
    return py::cast<std::vector<Index>>(numpy.attr("broadcast_shapes")(py::tuple(py::cast(z.shape())), py::tuple(py::cast(z0.shape()))));
  } catch (const py::error_already_set&) {  // in pyref's words
    const auto zeros = [&](const Argument& x) { return numpy.attr("broadcast_to")(numpy.attr("float64")(0), py::tuple(py::cast(x.shape()))); };
    py::module_::import("pyref").attr("activation_quotient")(zeros(z), zeros(z0), activation);
    throw;
  }
}

py::object activation_quotient(const py::object& z_, const py::object& z0_, const py::object& activation) {
  check_compiled("activation_quotient", activation);
  const Argument z("z", z_), z0("z0", z0_), slope = slopes_of(activation);
  const auto shape = joint_shape(z, z0, activation);
  auto of_one = shape;
  if (!of_one.empty()) of_one[0] = 1;
  const bool one_z0 = z0.shape() == of_one && z.shape() == shape;
  Call call("activation_quotient", {&z, &z0, &slope});
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const T *z_data = call.in<T>(z, shape), *z0_data = call.in<T>(z0, one_z0 ? of_one : shape);
    const auto of = activation_for<T>(call, activation, shape, slope);
    const auto q = call.out<T>(shape);
    call.run([&] { cuda::activation_quotient(call.operation(), call.stream(), of, z_data, z0_data, one_z0, q.data()); });
    return call.give(q);
  });
}

}  // namespace

void bind_cuda_activation(py::module_& module) {
  def(module, "activation_forward", &activation_forward);
  def(module, "activation_gradient", &activation_gradient);
  def(module, "activation_tangent", &activation_tangent);
  def(module, "activation_relevance", &activation_relevance);
  def(module, "activation_ratio", &activation_ratio);
  def(module, "activation_quotient", &activation_quotient);
}
