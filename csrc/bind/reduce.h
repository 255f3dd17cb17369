// Sums and means over axes, of pyref/layers/reduce.py, and the averages of pyref/layers/pool.py, at the door of any device.
#pragma once

#include "geometry.h"

namespace relprop::bind {

// The parameters of windows that are averaged, as pyref's functions take them.
struct AverageSettings {
  py::object kernel, stride, padding;
  bool ceil_mode, count_include_pad;
};

// Which axes are summed over, and the shape after the samples.
struct ReducedAxes {
  std::vector<bool> is_summed;
  std::vector<Index> shape;
};
inline ReducedAxes reduced_axes(const std::vector<Index>& x, const py::object& axes, bool keepdims) {
  const auto of_pyref = py::module_::import("pyref.layers.reduce");
  ReducedAxes made{std::vector<bool>(x.size()), numbers(of_pyref.attr("reduced_shape")(stand_in(x), axes, keepdims))};
  for (const Index axis : numbers(of_pyref.attr("sample_axes")(stand_in(x), axes))) made.is_summed[static_cast<std::size_t>(axis)] = true;
  made.shape.erase(made.shape.begin());
  return made;
}

// A Door takes arrays as door.h says, and has the boxes that are summed:
//
//   over_axes(x, axes, keepdims, is_mean)   average(x, settings)   adaptive(x, output_size)
//
// and what goes through them: forward(operation, x, boxes), gradient(…, G), relevance(…, R, rule, z, account).
template <class Door>
struct Reductions {
  using Array = typename Door::Array;

  static Array x_of(const py::object& x) { return Door::array("x", x); }
  static Array change(const py::object& x, const py::object& dx) { return Door::array("dx", dx, shape_of(x_of(x))); }

  template <bool is_mean>
  static py::object axes_forward(const py::object& x_, const py::object& axes, bool keepdims) {
    const Array x = x_of(x_);
    return Door::forward(is_mean ? "mean_forward" : "sum_forward", x, Door::over_axes(x, axes, keepdims, is_mean));
  }
  template <bool is_mean>
  static py::object axes_gradient(const py::object& x_, const py::object& axes, const py::object& G, bool keepdims) {
    const Array x = x_of(x_);
    return Door::gradient(is_mean ? "mean_gradient" : "sum_gradient", x, Door::over_axes(x, axes, keepdims, is_mean), G);
  }
  template <bool is_mean>
  static py::object axes_tangent(const py::object& x, const py::object& axes, const py::object& dx_, bool keepdims) {
    const Array dx = change(x, dx_);
    return Door::forward(is_mean ? "mean_tangent" : "sum_tangent", dx, Door::over_axes(dx, axes, keepdims, is_mean));
  }
  template <bool is_mean>
  static py::object axes_relevance(const py::object& x_, const py::object& axes, const py::object& R, const py::object& rule,
                                   const py::object& z, bool keepdims, const py::object& account) {
    const Array x = x_of(x_);
    const auto boxes = Door::over_axes(x, axes, keepdims, is_mean);
    return Door::relevance(is_mean ? "mean_relevance" : "sum_relevance", x, boxes, R, rule, z, account);
  }

  static py::object avg_pool_forward(const py::object& x_, const py::object& kernel, const py::object& stride,
                                     const py::object& padding, bool ceil_mode, bool count_include_pad) {
    const Array x = x_of(x_);
    return Door::forward("avg_pool_forward", x, Door::average(x, {kernel, stride, padding, ceil_mode, count_include_pad}));
  }
  static py::object avg_pool_gradient(const py::object& x_, const py::object& G, const py::object& kernel, const py::object& stride,
                                      const py::object& padding, bool ceil_mode, bool count_include_pad) {
    const Array x = x_of(x_);
    return Door::gradient("avg_pool_gradient", x, Door::average(x, {kernel, stride, padding, ceil_mode, count_include_pad}), G);
  }
  static py::object avg_pool_tangent(const py::object& x, const py::object& dx_, const py::object& kernel, const py::object& stride,
                                     const py::object& padding, bool ceil_mode, bool count_include_pad) {
    const Array dx = change(x, dx_);
    return Door::forward("avg_pool_tangent", dx, Door::average(dx, {kernel, stride, padding, ceil_mode, count_include_pad}));
  }
  static py::object avg_pool_relevance(const py::object& x_, const py::object& R, const py::object& rule, const py::object& kernel,
                                       const py::object& stride, const py::object& padding, bool ceil_mode, bool count_include_pad,
                                       const py::object& z, const py::object& account) {
    const Array x = x_of(x_);
    const auto boxes = Door::average(x, {kernel, stride, padding, ceil_mode, count_include_pad});
    return Door::relevance("avg_pool_relevance", x, boxes, R, rule, z, account);
  }

  static py::object adaptive_avg_pool_forward(const py::object& x_, const py::object& output_size) {
    const Array x = x_of(x_);
    return Door::forward("adaptive_avg_pool_forward", x, Door::adaptive(x, output_size));
  }
  static py::object adaptive_avg_pool_gradient(const py::object& x_, const py::object& G, const py::object& output_size) {
    const Array x = x_of(x_);
    return Door::gradient("adaptive_avg_pool_gradient", x, Door::adaptive(x, output_size), G);
  }
  static py::object adaptive_avg_pool_tangent(const py::object& x, const py::object& dx_, const py::object& output_size) {
    const Array dx = change(x, dx_);
    return Door::forward("adaptive_avg_pool_tangent", dx, Door::adaptive(dx, output_size));
  }
  static py::object adaptive_avg_pool_relevance(const py::object& x_, const py::object& R, const py::object& rule,
                                                const py::object& output_size, const py::object& z, const py::object& account) {
    const Array x = x_of(x_);
    return Door::relevance("adaptive_avg_pool_relevance", x, Door::adaptive(x, output_size), R, rule, z, account);
  }
};

template <class Door>
void def_reductions(py::module_& module) {
  using Of = Reductions<Door>;
  def(module, "sum_forward", &Of::template axes_forward<false>);
  def(module, "sum_gradient", &Of::template axes_gradient<false>);
  def(module, "sum_tangent", &Of::template axes_tangent<false>);
  def(module, "sum_relevance", &Of::template axes_relevance<false>);
  def(module, "mean_forward", &Of::template axes_forward<true>);
  def(module, "mean_gradient", &Of::template axes_gradient<true>);
  def(module, "mean_tangent", &Of::template axes_tangent<true>);
  def(module, "mean_relevance", &Of::template axes_relevance<true>);
  def(module, "avg_pool_forward", &Of::avg_pool_forward);
  def(module, "avg_pool_gradient", &Of::avg_pool_gradient);
  def(module, "avg_pool_tangent", &Of::avg_pool_tangent);
  def(module, "avg_pool_relevance", &Of::avg_pool_relevance);
  def(module, "adaptive_avg_pool_forward", &Of::adaptive_avg_pool_forward);
  def(module, "adaptive_avg_pool_gradient", &Of::adaptive_avg_pool_gradient);
  def(module, "adaptive_avg_pool_tangent", &Of::adaptive_avg_pool_tangent);
  def(module, "adaptive_avg_pool_relevance", &Of::adaptive_avg_pool_relevance);
}

}  // namespace relprop::bind
