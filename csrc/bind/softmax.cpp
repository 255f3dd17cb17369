#include "relprop/softmax.h"

#include "door.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// x along an axis; null where pyref refuses the axis, or an empty one.
std::optional<cpu::SoftmaxSize> softmax_size(const py::array& x, Index axis) {
  const Index counted = axis < 0 ? axis + x.ndim() : axis;
  if (counted < 1 || counted >= x.ndim() || x.shape(static_cast<int>(counted)) == 0) return std::nullopt;
  cpu::SoftmaxSize size{1, x.shape(static_cast<int>(counted)), 1};
  for (int d = 0; d < x.ndim(); ++d)
    if (d != counted) (d < counted ? size.outer : size.inner) *= x.shape(d);
  return size;
}

// The function of x and axis that a kernel is.
template <class Kernel>
auto of_x(const char* name, Kernel kernel) {
  return [name, kernel](const py::object& x_, Index axis) -> py::object {
    const auto x = floats("x", x_);
    const auto size = softmax_size(x, axis);
    if (!size) return reference(name, x, axis);  // raises
    return filled({x}, {shape_of(x)}, [&](auto in, auto out) { kernel(*size, in[0], out[0]); })[0];
  };
}

// The function of x, a signal or a change called `second`, and axis.
template <class Kernel>
auto of_two(const char* name, const char* second, Kernel kernel) {
  return [name, second, kernel](const py::object& x_, const py::object& other_, Index axis) -> py::object {
    const auto x = floats("x", x_), other = floats(second, other_);
    check_shape(second, other, shape_of(x));
    const auto size = softmax_size(x, axis);
    if (!size) return reference(name, x, other, axis);  // raises
    return filled({x, other}, {shape_of(x)}, [&](auto in, auto out) { kernel(*size, in[0], in[1], out[0]); })[0];
  };
}

}  // namespace

void bind_softmax(py::module_& cpu) {
  const auto gradient = [](auto... of) { cpu::softmax_gradient(of...); };
  def(cpu, "softmax_forward", of_x("softmax_forward", [](auto... of) { cpu::softmax_forward(of...); }));
  def(cpu, "softmax_gradient", of_two("softmax_gradient", "G", gradient));
  def(cpu, "softmax_tangent", of_two("softmax_tangent", "dx", gradient));
  def(cpu, "log_softmax_forward", of_x("log_softmax_forward", [](auto... of) { cpu::log_softmax_forward(of...); }));
  def(cpu, "log_softmax_gradient", of_two("log_softmax_gradient", "G", [](auto... of) { cpu::log_softmax_gradient(of...); }));
  def(cpu, "log_softmax_tangent", of_two("log_softmax_tangent", "dx", [](auto... of) { cpu::log_softmax_tangent(of...); }));
}
