#include "cuda/conv_transpose.h"

#include "affine.h"
#include "windows.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// What says how the windows lie, as pyref's functions take it.
struct Settings {
  py::object stride, padding, output_padding, dilation, groups;
};

// The layer that x and w make; pyref checks its geometry.
AffineLayer conv_transpose_layer(const Argument& x, const Argument& w, const Settings& s) {
  const py::object windows =
      py::module_::import("pyref.layers.conv_transpose")
          .attr("conv_transpose_windows")(x.object, w.object, s.stride, s.padding, s.output_padding, s.dilation, s.groups);
  const auto axes = axes_for_kernels("a transposed convolution", windows);
  const auto x_shape = x.shape(), w_shape = w.shape();
  const int groups = s.groups.cast<int>(), inputs = static_cast<int>(w_shape[0]) / groups, outputs = static_cast<int>(w_shape[1]);
  AffineLayer layer{cuda::conv_transpose_map(x_shape[0], groups, inputs, outputs, axes.data(), static_cast<int>(axes.size())),
                    {x_shape[0], w_shape[1] * groups}};
  for (const auto& axis : axes) layer.z.push_back(axis.length);
  check_sample("x", x_shape);
  check_sample("z", layer.z);
  return layer;
}

py::object conv_transpose_forward(const py::object& x_, const py::object& w_, const py::object& b_, const py::object& stride,
                                  const py::object& padding, const py::object& output_padding, const py::object& dilation,
                                  const py::object& groups) {
  const Argument x("x", x_), w("w", w_), b = or_none("b", b_);
  const auto layer = conv_transpose_layer(x, w, {stride, padding, output_padding, dilation, groups});
  return affine_forward("conv_transpose_forward", layer, x, w, b);
}

py::object conv_transpose_gradient(const py::object& x_, const py::object& w_, const py::object&, const py::object& G_,
                                   const py::object& stride, const py::object& padding, const py::object& output_padding,
                                   const py::object& dilation, const py::object& groups) {
  const Argument x("x", x_), w("w", w_), G("G", G_);
  const auto layer = conv_transpose_layer(x, w, {stride, padding, output_padding, dilation, groups});
  return affine_gradient("conv_transpose_gradient", layer, x, w, G);
}

py::object conv_transpose_tangent(const py::object& x, const py::object& w, const py::object&, const py::object& dx,
                                  const py::object& stride, const py::object& padding, const py::object& output_padding,
                                  const py::object& dilation, const py::object& groups) {
  check_shape(Argument("dx", dx), Argument("x", x).shape());
  return conv_transpose_forward(dx, w, py::none(), stride, padding, output_padding, dilation, groups);
}

py::object conv_transpose_relevance(const py::object& x_, const py::object& w_, const py::object& b_, const py::object& R_,
                                    const py::object& rule, const py::object& stride, const py::object& padding,
                                    const py::object& output_padding, const py::object& dilation, const py::object& groups,
                                    const py::object& z_, const py::object& account) {
  const Argument x("x", x_), w("w", w_), b = or_none("b", b_), R("R", R_), z = or_none("z", z_);
  const auto layer = conv_transpose_layer(x, w, {stride, padding, output_padding, dilation, groups});
  return affine_relevance("conv_transpose_relevance", layer, x, w, b, R, rule, z, account);
}

}  // namespace

void bind_cuda_conv_transpose(py::module_& module) {
  def(module, "conv_transpose_forward", &conv_transpose_forward);
  def(module, "conv_transpose_gradient", &conv_transpose_gradient);
  def(module, "conv_transpose_tangent", &conv_transpose_tangent);
  def(module, "conv_transpose_relevance", &conv_transpose_relevance);
}
