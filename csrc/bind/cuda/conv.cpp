#include "cuda/conv.h"

#include "door.h"
#include "windows.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// The geometry, checked by pyref, and the shape of z.
struct Geometry {
  cuda::AffineMap map;
  std::vector<Index> z;
};

Geometry geometry(const Argument& x, const Argument& w, const py::object& stride, const py::object& padding,
                  const py::object& dilation, const py::object& groups) {
  const py::object windows =
      py::module_::import("pyref.layers.conv").attr("conv_windows")(x.object, w.object, stride, padding, dilation, groups);
  const auto axes = axes_of(windows);
  if (axes.size() > 3) throw std::runtime_error("a convolution over " + std::to_string(axes.size()) + " axes has no CUDA kernel");
  const auto x_shape = x.shape(), w_shape = w.shape();
  const int count = groups.cast<int>();
  Geometry g{cuda::conv_map(x_shape[0], count, static_cast<int>(w_shape[1]), static_cast<int>(w_shape[0]) / count, axes.data(),
                            static_cast<int>(axes.size())),
             {x_shape[0], w_shape[0]}};
  for (const auto& axis : axes) g.z.push_back(axis.count);
  check_sample("x", x_shape);
  check_sample("z", g.z);
  return g;
}

py::object conv_forward(const py::object& x_, const py::object& w_, const py::object& b_, const py::object& stride,
                        const py::object& padding, const py::object& dilation, const py::object& groups) {
  const Argument x("x", x_), w("w", w_), b = or_none("b", b_);
  const auto g = geometry(x, w, stride, padding, dilation, groups);
  if (b) check_shape(b, {g.z[1]});
  Call call("conv_forward", {&x, &w, &b});
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const T *x_data = call.in<T>(x), *w_data = call.in<T>(w), *b_data = call.in<T>(b);
    const auto z = call.out<T>(g.z);
    call.run([&] { cuda::affine_forward(call.operation(), call.stream(), g.map, x_data, w_data, b_data, z.data()); });
    return call.give(z);
  });
}

py::object conv_gradient(const py::object& x_, const py::object& w_, const py::object&, const py::object& G_, const py::object& stride,
                         const py::object& padding, const py::object& dilation, const py::object& groups) {
  const Argument x("x", x_), w("w", w_), G("G", G_);
  const auto g = geometry(x, w, stride, padding, dilation, groups);
  check_shape(G, g.z);
  Call call("conv_gradient", {&w, &G});
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const T *w_data = call.in<T>(w), *G_data = call.in<T>(G);
    const auto G_x = call.out<T>(x.shape());
    call.run([&] { cuda::affine_gradient(call.operation(), call.stream(), g.map, w_data, G_data, G_x.data()); });
    return call.give(G_x);
  });
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
  const auto g = geometry(x, w, stride, padding, dilation, groups);
  check_shape(R, g.z);
  if (b) check_shape(b, {g.z[1]});
  if (z) check_shape(z, g.z);
  Call call("conv_relevance", {&x, &w, &b, &R, &z});
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const auto made = device_rule<T>(call, rule, x);
    if (std::holds_alternative<math::Pass<T>>(made.rule)) return pass(x, R);
    const T *x_data = call.in<T>(x), *w_data = call.in<T>(w), *b_data = call.in<T>(b), *R_data = call.in<T>(R), *z_data = call.in<T>(z);
    const DeviceAccount<T> kept(call, account, R, bool(b));
    const auto r = call.out<T>(x.shape());
    call.run([&] {
      cuda::affine_relevance(call.operation(), call.stream(), g.map, x_data, w_data, b_data, R_data, made.rule, made.bounds, z_data,
                             kept.pointer(), r.data());
    });
    kept.write();
    return call.give(r);
  });
}

}  // namespace

void bind_cuda_conv(py::module_& module) {
  using namespace py::literals;
  module.def("conv_forward", &conv_forward, "x"_a, "w"_a, "b"_a = py::none(), "stride"_a = 1, "padding"_a = 0, "dilation"_a = 1,
             "groups"_a = 1);
  module.def("conv_gradient", &conv_gradient, "x"_a, "w"_a, "b"_a, "G"_a, "stride"_a = 1, "padding"_a = 0, "dilation"_a = 1,
             "groups"_a = 1);
  module.def("conv_tangent", &conv_tangent, "x"_a, "w"_a, "b"_a, "dx"_a, "stride"_a = 1, "padding"_a = 0, "dilation"_a = 1,
             "groups"_a = 1);
  module.def("conv_relevance", &conv_relevance, "x"_a, "w"_a, "b"_a, "R"_a, "rule"_a, "stride"_a = 1, "padding"_a = 0,
             "dilation"_a = 1, "groups"_a = 1, "z"_a = py::none(), "account"_a = py::none());
}
