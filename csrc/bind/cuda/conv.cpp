#include "cuda/conv.h"

#include "affine.h"
#include "windows.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// The layer that x and w make; pyref checks its geometry.
AffineLayer conv_layer(const Argument& x, const Argument& w, const py::object& stride, const py::object& padding,
                       const py::object& dilation, const py::object& groups) {
  const py::object windows =
      py::module_::import("pyref.layers.conv").attr("conv_windows")(x.object, w.object, stride, padding, dilation, groups);
  const auto axes = axes_for_kernels("a convolution", windows);
  const auto x_shape = x.shape(), w_shape = w.shape();
  const int count = groups.cast<int>();
  AffineLayer layer{cuda::conv_map(x_shape[0], count, static_cast<int>(w_shape[1]), static_cast<int>(w_shape[0]) / count, axes.data(),
                                   static_cast<int>(axes.size())),
                    {x_shape[0], w_shape[0]}};
  for (const auto& axis : axes) layer.z.push_back(axis.count);
  check_sample("x", x_shape);
  check_sample("z", layer.z);
  return layer;
}

py::object conv_forward(const py::object& x_, const py::object& w_, const py::object& b_, const py::object& stride,
                        const py::object& padding, const py::object& dilation, const py::object& groups) {
  const Argument x("x", x_), w("w", w_), b = or_none("b", b_);
  return affine_forward("conv_forward", conv_layer(x, w, stride, padding, dilation, groups), x, w, b);
}

py::object conv_gradient(const py::object& x_, const py::object& w_, const py::object&, const py::object& G_, const py::object& stride,
                         const py::object& padding, const py::object& dilation, const py::object& groups) {
  const Argument x("x", x_), w("w", w_), G("G", G_);
  return affine_gradient("conv_gradient", conv_layer(x, w, stride, padding, dilation, groups), x, w, G);
}

py::object conv_tangent(const py::object& x, const py::object& w, const py::object&, const py::object& dx, const py::object& stride,
                        const py::object& padding, const py::object& dilation, const py::object& groups) {
  check_shape(Argument("dx", dx), Argument("x", x).shape());
  return conv_forward(dx, w, py::none(), stride, padding, dilation, groups);
}

py::object conv_relevance(const py::object& x_, const py::object& w_, const py::object& b_, const py::object& R_,
                          const py::object& rule, const py::object& stride, const py::object& padding, const py::object& dilation,
                          const py::object& groups, const py::object& z_, const py::object& account) {
  const Argument x("x", x_), w("w", w_), b = or_none("b", b_), R("R", R_), z = or_none("z", z_);
  const auto layer = conv_layer(x, w, stride, padding, dilation, groups);
  return affine_relevance("conv_relevance", layer, x, w, b, R, rule, z, account);
}

}  // namespace

void bind_cuda_conv(py::module_& module) {
  def(module, "conv_forward", &conv_forward);
  def(module, "conv_gradient", &conv_gradient);
  def(module, "conv_tangent", &conv_tangent);
  def(module, "conv_relevance", &conv_relevance);
}
