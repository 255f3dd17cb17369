#include "relprop/conv_transpose.h"

#include "window.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// The layer that x, w and pyref's options (stride, padding, output_padding, dilation, groups) make.
std::shared_ptr<const WindowLayer> conv_transpose_layer(const py::array& x, const py::array& w, const py::tuple& options) {
  return remembered<WindowLayer>(py::make_tuple("conv_transpose", x.attr("shape"), w.attr("shape"), options), [&] {
    const auto pyrefs = py::module_::import("pyref.layers.conv_transpose").attr("conv_transpose_windows");
    const auto windows = windows_from(pyrefs(x, w, *options));
    WindowLayer layer{windows.has_value(), {}, {}};
    if (!windows) return layer;
    const Index groups = PyLong_AsLongLong(py::int_(options[4]).ptr()), channels = w.shape(1) * groups;
    layer.size = {x.shape(0), channels, w.shape(0), groups, *windows};
    layer.z_shape = image_shape(x.shape(0), channels, windows->lengths, x);
    return layer;
  });
}

py::object conv_transpose_forward(const py::object& x_, const py::object& w_, const py::object& b_, const py::object& stride,
                                  const py::object& padding, const py::object& output_padding, const py::object& dilation,
                                  const py::object& groups) {
  const auto x = floats("x", x_), w = floats("w", w_);
  const auto b = floats_or_none("b", b_);
  const auto layer = conv_transpose_layer(x, w, py::make_tuple(stride, padding, output_padding, dilation, groups));
  if (!layer->is_compiled) return reference("conv_transpose_forward", x, w, b_, stride, padding, output_padding, dilation, groups);
  return window_forward(*layer, x, w, b, [](const auto&... arguments) { cpu::conv_transpose_forward(arguments...); });
}

py::object conv_transpose_gradient(const py::object& x_, const py::object& w_, const py::object& b, const py::object& G_,
                                   const py::object& stride, const py::object& padding, const py::object& output_padding,
                                   const py::object& dilation, const py::object& groups) {
  const auto x = floats("x", x_), w = floats("w", w_), G = floats("G", G_);
  const auto layer = conv_transpose_layer(x, w, py::make_tuple(stride, padding, output_padding, dilation, groups));
  if (!layer->is_compiled) return reference("conv_transpose_gradient", x, w, b, G, stride, padding, output_padding, dilation, groups);
  return window_gradient(*layer, x, w, G, [](const auto&... arguments) { cpu::conv_transpose_gradient(arguments...); });
}

py::object conv_transpose_tangent(const py::object& x_, const py::object& w_, const py::object&, const py::object& dx_,
                                  const py::object& stride, const py::object& padding, const py::object& output_padding,
                                  const py::object& dilation, const py::object& groups) {
  const auto dx = floats("dx", dx_);
  check_shape("dx", dx, shape_of(floats("x", x_)));
  return conv_transpose_forward(dx, w_, py::none(), stride, padding, output_padding, dilation, groups);
}

py::object conv_transpose_relevance(const py::object& x_, const py::object& w_, const py::object& b_, const py::object& R_,
                                    const py::object& rule, const py::object& stride, const py::object& padding,
                                    const py::object& output_padding, const py::object& dilation, const py::object& groups,
                                    const py::object& z_, const py::object& account) {
  const auto x = floats("x", x_), w = floats("w", w_);
  const auto b = floats_or_none("b", b_);
  const auto layer = conv_transpose_layer(x, w, py::make_tuple(stride, padding, output_padding, dilation, groups));
  if (!layer->is_compiled)
    return reference("conv_transpose_relevance", x, w, b_, R_, rule, stride, padding, output_padding, dilation, groups, z_, account);
  return window_relevance(*layer, x, w, b, R_, rule, z_, account,
                          [](const auto&... arguments) { cpu::conv_transpose_relevance(arguments...); });
}

}  // namespace

void bind_conv_transpose(py::module_& cpu) {
  def(cpu, "conv_transpose_forward", &conv_transpose_forward);
  def(cpu, "conv_transpose_gradient", &conv_transpose_gradient);
  def(cpu, "conv_transpose_tangent", &conv_transpose_tangent);
  def(cpu, "conv_transpose_relevance", &conv_transpose_relevance);
}
