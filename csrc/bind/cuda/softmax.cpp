#include "cuda/softmax.h"

#include <pybind11/stl.h>

#include "door.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// x along an axis; null where pyref refuses the axis, or an empty one.
std::optional<cuda::SoftmaxMap> softmax_map(const Argument& x, Index axis) {
  const auto shape = x.shape();
  const Index counted = axis < 0 ? axis + x.ndim() : axis;
  if (counted < 1 || counted >= x.ndim() || shape[static_cast<std::size_t>(counted)] == 0) return std::nullopt;
  check_sample("x", shape);
  cuda::SoftmaxMap map{1, 1, 1};
  for (Index d = 0; d < x.ndim(); ++d) {
    const Index length = shape[static_cast<std::size_t>(d)];
    if (d < counted)
      map.outer *= length;
    else
      (d == counted ? map.length : map.inner) *= static_cast<int>(length);
  }
  return map;
}

// Zeros of the shape in host memory, for pyref to refuse in its words.
py::object stand_in(const Argument& x) {
  const py::module_ numpy = py::module_::import("numpy");
  return numpy.attr("broadcast_to")(numpy.attr("float32")(0), py::tuple(py::cast(x.shape())));
}

// The function of x and axis that a kernel is.
template <class Kernel>
auto of_x(const char* name, Kernel kernel) {
  return [name, kernel](const py::object& x_, Index axis) -> py::object {
    const Argument x("x", x_);
    const auto map = softmax_map(x, axis);
    if (!map) return reference(name, stand_in(x), axis);  // raises
    Call call(name, {&x});
    return call.with_widest([&](auto zero) {
      using T = decltype(zero);
      const T* x_data = call.in<T>(x);
      const auto y = call.out<T>(x.shape());
      call.run([&] { kernel(name, call.stream(), *map, x_data, y.data()); });
      return call.give(y);
    });
  };
}

// The function of x, a signal or a change called `second`, and axis.
template <class Kernel>
auto of_two(const char* name, const char* second, Kernel kernel) {
  return [name, second, kernel](const py::object& x_, const py::object& other_, Index axis) -> py::object {
    const Argument x("x", x_), other(second, other_);
    check_shape(other, x.shape());
    const auto map = softmax_map(x, axis);
    if (!map) return reference(name, stand_in(x), stand_in(other), axis);  // raises
    Call call(name, {&x, &other});
    return call.with_widest([&](auto zero) {
      using T = decltype(zero);
      const T *x_data = call.in<T>(x), *other_data = call.in<T>(other);
      const auto y = call.out<T>(x.shape());
      call.run([&] { kernel(name, call.stream(), *map, x_data, other_data, y.data()); });
      return call.give(y);
    });
  };
}

// The kernels, whichever the dtype.
#define RELPROP_KERNEL(name) [](auto... of) { cuda::name(of...); }

}  // namespace

void bind_cuda_softmax(py::module_& module) {
  const auto gradient = RELPROP_KERNEL(softmax_gradient);
  def(module, "softmax_forward", of_x("softmax_forward", RELPROP_KERNEL(softmax_forward)));
  def(module, "softmax_gradient", of_two("softmax_gradient", "G", gradient));
  def(module, "softmax_tangent", of_two("softmax_tangent", "dx", gradient));
  def(module, "log_softmax_forward", of_x("log_softmax_forward", RELPROP_KERNEL(log_softmax_forward)));
  def(module, "log_softmax_gradient", of_two("log_softmax_gradient", "G", RELPROP_KERNEL(log_softmax_gradient)));
  def(module, "log_softmax_tangent", of_two("log_softmax_tangent", "dx", RELPROP_KERNEL(log_softmax_tangent)));
}
