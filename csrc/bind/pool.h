// The maximum of each window, of pyref/layers/pool.py, at the door of any device; averages are in reduce.h.
#pragma once

#include "door.h"
#include "math/pool.h"

namespace relprop::bind {

// The parameters of windows, as pyref's functions take them.
struct PoolSettings {
  py::object kernel, stride, padding, dilation;
  bool ceil_mode;
};

// A Door takes arrays as door.h says, and has the windows over x, windows(x, settings): whether they are compiled, and the
// `shape` of what they make. What goes through them is forward(operation, x, windows),
//
//   sent_back(…, signal, ties, account)   tangent(…, dx, ties)   multiplier(…, x0, one_x0, M, ties)   ray(…, dx)
//
// What is not compiled is pyref's.
template <class Door>
struct MaxPooling {
  using Array = typename Door::Array;

  static py::object forward(const py::object& x_, const py::object& kernel, const py::object& stride, const py::object& padding,
                            const py::object& dilation, bool ceil_mode) {
    const Array x = Door::array("x", x_);
    const auto windows = Door::windows(x, {kernel, stride, padding, dilation, ceil_mode});
    if (!windows.is_compiled) return reference("max_pool_forward", x_, kernel, stride, padding, dilation, ceil_mode);
    return Door::forward("max_pool_forward", x, windows);
  }

  static py::object gradient(const py::object& x_, const py::object& G_, const py::object& kernel, const py::object& stride,
                             const py::object& padding, const py::object& dilation, bool ceil_mode, const py::object& ties) {
    const Array x = Door::array("x", x_);
    const auto windows = Door::windows(x, {kernel, stride, padding, dilation, ceil_mode});
    const Array G = Door::array("G", G_, windows.shape);
    if (!windows.is_compiled) return reference("max_pool_gradient", x_, G_, kernel, stride, padding, dilation, ceil_mode, ties);
    return Door::sent_back("max_pool_gradient", x, windows, G, choice<math::Ties>("ties", ties), py::none());
  }

  static py::object tangent(const py::object& x_, const py::object& dx_, const py::object& kernel, const py::object& stride,
                            const py::object& padding, const py::object& dilation, bool ceil_mode, const py::object& ties) {
    const Array x = Door::array("x", x_), dx = Door::array("dx", dx_, shape_of(x));
    const auto windows = Door::windows(x, {kernel, stride, padding, dilation, ceil_mode});
    if (!windows.is_compiled) return reference("max_pool_tangent", x_, dx_, kernel, stride, padding, dilation, ceil_mode, ties);
    return Door::tangent("max_pool_tangent", x, windows, dx, choice<math::Ties>("ties", ties));
  }

  static py::object relevance(const py::object& x_, const py::object& R_, const py::object& kernel, const py::object& stride,
                              const py::object& padding, const py::object& dilation, bool ceil_mode, const py::object& ties,
                              const py::object& account) {
    const Array x = Door::array("x", x_);
    const auto windows = Door::windows(x, {kernel, stride, padding, dilation, ceil_mode});
    const Array R = Door::array("R", R_, windows.shape);
    if (!windows.is_compiled)
      return reference("max_pool_relevance", x_, R_, kernel, stride, padding, dilation, ceil_mode, ties, account);
    return Door::sent_back("max_pool_relevance", x, windows, R, choice<math::Ties>("ties", ties), account);
  }

  static py::object multiplier(const py::object& x_, const py::object& x0_, const py::object& M_, const py::object& kernel,
                               const py::object& stride, const py::object& padding, const py::object& dilation, bool ceil_mode,
                               const py::object& ties, const py::object& max_pool) {
    if (choice<math::MaxPool>("max_pool", max_pool) == math::MaxPool::gradient)
      return gradient(x_, M_, kernel, stride, padding, dilation, ceil_mode, ties);
    const Array x = Door::array("x", x_), x0 = Door::array("x0", x0_);
    const auto windows = Door::windows(x, {kernel, stride, padding, dilation, ceil_mode});
    auto one_sample = shape_of(x);
    one_sample[0] = 1;
    const bool one_x0 = shape_of(x0) == one_sample;
    if (!windows.is_compiled || !Door::takes_baseline(x, x0, one_x0))
      return reference("max_pool_multiplier", x_, x0_, M_, kernel, stride, padding, dilation, ceil_mode, ties, max_pool);
    const Array M = Door::array("M", M_, windows.shape);
    return Door::multiplier("max_pool_multiplier", x, windows, x0, one_x0, M, choice<math::Ties>("ties", ties));
  }

  static py::object ray(const py::object& x_, const py::object& dx_, const py::object& kernel, const py::object& stride,
                        const py::object& padding, const py::object& dilation, bool ceil_mode) {
    const Array x = Door::array("x", x_), dx = Door::array("dx", dx_, shape_of(x));
    const auto windows = Door::windows(x, {kernel, stride, padding, dilation, ceil_mode});
    if (!windows.is_compiled) return reference("max_pool_ray", x_, dx_, kernel, stride, padding, dilation, ceil_mode);
    return Door::ray("max_pool_ray", x, windows, dx);
  }
};

template <class Door>
void def_max_pool(py::module_& module) {
  using Of = MaxPooling<Door>;
  def(module, "max_pool_forward", &Of::forward);
  def(module, "max_pool_gradient", &Of::gradient);
  def(module, "max_pool_tangent", &Of::tangent);
  def(module, "max_pool_relevance", &Of::relevance);
  def(module, "max_pool_multiplier", &Of::multiplier);
  def(module, "max_pool_ray", &Of::ray);
}

}  // namespace relprop::bind
