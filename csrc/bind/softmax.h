// Softmax and its logarithm over one axis, of pyref/layers/softmax.py, at the door of any device.
#pragma once

#include "door.h"

namespace relprop::bind {

// A Door has the kernels and the Size that they take, and takes arrays and computes with them as door.h says.
template <class Door>
struct Softmax {
  using Array = typename Door::Array;
  using Size = typename Door::Size;

  // x along an axis; none where pyref refuses the axis, or an empty one.
  static std::optional<Size> size_of(const std::vector<Index>& shape, Index axis) {
    const Index axes = static_cast<Index>(shape.size()), counted = axis < 0 ? axis + axes : axis;
    if (counted < 1 || counted >= axes || shape[static_cast<std::size_t>(counted)] == 0) return std::nullopt;
    Door::check_sample("x", shape);
    Index outer = 1, length = 1, inner = 1;
    for (Index d = 0; d < axes; ++d) (d < counted ? outer : d == counted ? length : inner) *= shape[static_cast<std::size_t>(d)];
    using Count = decltype(Size::length);
    return Size{outer, static_cast<Count>(length), static_cast<Count>(inner)};
  }

  // The function of x and axis that a kernel is.
  template <class Kernel>
  static void def_of_x(py::module_& module, const char* name, Kernel kernel) {
    def(module, name, [name, kernel](const py::object& x_, Index axis) -> py::object {
      const Array x = Door::array("x", x_);
      const auto shape = shape_of(x);
      const auto size = size_of(shape, axis);
      if (!size) return reference(name, stand_in(shape), axis);  // raises
      const auto fill = [kernel, size](const auto& on, auto in, auto out) { kernel(on, *size, in[0], out[0]); };
      return Door::filled(name, {&x}, {shape}, fill)[0];
    });
  }

  // The function of x, a signal or a change called `second`, and axis.
  template <class Kernel>
  static void def_of_two(py::module_& module, const char* name, const char* second, Kernel kernel) {
    def(module, name, [name, second, kernel](const py::object& x_, const py::object& other_, Index axis) -> py::object {
      const Array x = Door::array("x", x_);
      const auto shape = shape_of(x);
      const Array other = Door::array(second, other_, shape);
      const auto size = size_of(shape, axis);
      if (!size) return reference(name, stand_in(shape), stand_in(shape), axis);  // raises
      const auto fill = [kernel, size](const auto& on, auto in, auto out) { kernel(on, *size, in[0], in[1], out[0]); };
      return Door::filled(name, {&x, &other}, {shape}, fill)[0];
    });
  }
};

template <class Door>
void def_softmax(py::module_& module) {
  using Of = Softmax<Door>;
  Of::def_of_x(module, "softmax_forward", Door::softmax_forward);
  Of::def_of_two(module, "softmax_gradient", "G", Door::softmax_gradient);
  Of::def_of_two(module, "softmax_tangent", "dx", Door::softmax_gradient);
  Of::def_of_x(module, "log_softmax_forward", Door::log_softmax_forward);
  Of::def_of_two(module, "log_softmax_gradient", "G", Door::log_softmax_gradient);
  Of::def_of_two(module, "log_softmax_tangent", "dx", Door::log_softmax_tangent);
}

}  // namespace relprop::bind
