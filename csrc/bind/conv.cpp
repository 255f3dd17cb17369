#include "relprop/conv.h"

#include "window.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// The layer that x, w and pyref's options (stride, padding, dilation, groups) make.
std::shared_ptr<const WindowLayer> conv_layer(const py::array& x, const py::array& w, const py::tuple& options) {
  return remembered<WindowLayer>(py::make_tuple("conv", x.attr("shape"), w.attr("shape"), options), [&] {
    const auto windows = windows_from(py::module_::import("pyref.layers.conv").attr("conv_windows")(x, w, *options));
    WindowLayer layer{windows.has_value(), {}, {}};
    if (!windows) return layer;
    layer.size = {x.shape(0), x.shape(1), w.shape(0), x.shape(1) / w.shape(1), *windows};
    layer.z_shape = image_shape(x.shape(0), w.shape(0), windows->counts, x);
    return layer;
  });
}

py::object conv_forward(const py::object& x_, const py::object& w_, const py::object& b_, const py::object& stride,
                        const py::object& padding, const py::object& dilation, const py::object& groups) {
  const auto x = floats("x", x_), w = floats("w", w_);
  const auto b = floats_or_none("b", b_);
  const auto layer = conv_layer(x, w, py::make_tuple(stride, padding, dilation, groups));
  if (!layer->is_compiled) return reference("conv_forward", x, w, b_, stride, padding, dilation, groups);
  return window_forward(*layer, x, w, b, [](const auto&... arguments) { cpu::conv_forward(arguments...); });
}

py::object conv_gradient(const py::object& x_, const py::object& w_, const py::object& b, const py::object& G_,
                         const py::object& stride, const py::object& padding, const py::object& dilation, const py::object& groups) {
  const auto x = floats("x", x_), w = floats("w", w_), G = floats("G", G_);
  const auto layer = conv_layer(x, w, py::make_tuple(stride, padding, dilation, groups));
  if (!layer->is_compiled) return reference("conv_gradient", x, w, b, G, stride, padding, dilation, groups);
  return window_gradient(*layer, x, w, G, [](const auto&... arguments) { cpu::conv_gradient(arguments...); });
}

py::object conv_tangent(const py::object& x_, const py::object& w, const py::object&, const py::object& dx_, const py::object& stride,
                        const py::object& padding, const py::object& dilation, const py::object& groups) {
  const auto dx = floats("dx", dx_);
  check_shape("dx", dx, shape_of(floats("x", x_)));
  return conv_forward(dx, w, py::none(), stride, padding, dilation, groups);
}

py::object conv_relevance(const py::object& x_, const py::object& w_, const py::object& b_, const py::object& R_,
                          const py::object& rule, const py::object& stride, const py::object& padding, const py::object& dilation,
                          const py::object& groups, const py::object& z_, const py::object& account) {
  const auto x = floats("x", x_), w = floats("w", w_);
  const auto b = floats_or_none("b", b_);
  const auto layer = conv_layer(x, w, py::make_tuple(stride, padding, dilation, groups));
  if (!layer->is_compiled) return reference("conv_relevance", x, w, b_, R_, rule, stride, padding, dilation, groups, z_, account);
  return window_relevance(*layer, x, w, b, R_, rule, z_, account, [](const auto&... arguments) { cpu::conv_relevance(arguments...); });
}

}  // namespace

void bind_conv(py::module_& cpu) {
  def(cpu, "conv_forward", &conv_forward);
  def(cpu, "conv_gradient", &conv_gradient);
  def(cpu, "conv_tangent", &conv_tangent);
  def(cpu, "conv_relevance", &conv_relevance);
}
