#include "cuda/dense.h"

#include "door.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// The layer that x and w, which fits it, have.
cuda::AffineMap dense_map(const Argument& x, const Argument& w) {
  const auto shape = x.shape();
  if (shape.empty()) throw py::index_error("tuple Index out of range");
  check_shape(w, {shape.back(), any});
  check_sample("x", shape);
  check_sample("z", with_last(shape, w.shape()[1]));
  const Index samples = shape.size() == 1 ? 1 : shape[0];
  Index positions = 1;
  for (std::size_t d = 1; d + 1 < shape.size(); ++d) positions *= shape[d];
  return cuda::dense_map(samples, static_cast<int>(positions), static_cast<int>(shape.back()), static_cast<int>(w.shape()[1]));
}

py::object dense_forward(const py::object& x_, const py::object& w_, const py::object& b_) {
  const Argument x("x", x_), w("w", w_), b = or_none("b", b_);
  const auto map = dense_map(x, w);
  if (b) check_shape(b, {map.outputs});
  Call call("dense_forward", {&x, &w, &b});
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const T *x_data = call.in<T>(x), *w_data = call.in<T>(w), *b_data = call.in<T>(b);
    const auto z = call.out<T>(with_last(x.shape(), map.outputs));
    call.run([&] { cuda::affine_forward(call.operation(), call.stream(), map, x_data, w_data, b_data, z.data()); });
    return call.give(z);
  });
}

py::object dense_gradient(const py::object& x_, const py::object& w_, const py::object&, const py::object& G_) {
  const Argument x("x", x_), w("w", w_), G("G", G_);
  const auto map = dense_map(x, w);
  check_shape(G, with_last(x.shape(), map.outputs));
  Call call("dense_gradient", {&w, &G});
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const T *w_data = call.in<T>(w), *G_data = call.in<T>(G);
    const auto G_x = call.out<T>(x.shape());
    call.run([&] { cuda::affine_gradient(call.operation(), call.stream(), map, w_data, G_data, G_x.data()); });
    return call.give(G_x);
  });
}

py::object dense_tangent(const py::object& x, const py::object& w, const py::object&, const py::object& dx) {
  check_shape(Argument("dx", dx), Argument("x", x).shape());
  return dense_forward(dx, w, py::none());
}

py::object dense_relevance(const py::object& x_, const py::object& w_, const py::object& b_, const py::object& R_,
                           const py::object& rule, const py::object& z_, const py::object& account) {
  const Argument x("x", x_), w("w", w_), b = or_none("b", b_), R("R", R_), z = or_none("z", z_);
  const auto map = dense_map(x, w);
  check_shape(R, with_last(x.shape(), map.outputs));
  if (b) check_shape(b, {map.outputs});
  if (z) check_shape(z, R.shape());
  Call call("dense_relevance", {&x, &w, &b, &R, &z});
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const auto made = device_rule<T>(call, rule, x);
    if (std::holds_alternative<math::Pass<T>>(made.rule)) return pass(x, R);
    const T *x_data = call.in<T>(x), *w_data = call.in<T>(w), *b_data = call.in<T>(b), *R_data = call.in<T>(R), *z_data = call.in<T>(z);
    const DeviceAccount<T> kept(call, account, R, bool(b));
    const auto r = call.out<T>(x.shape());
    call.run([&] {
      cuda::affine_relevance(call.operation(), call.stream(), map, x_data, w_data, b_data, R_data, made.rule, made.bounds, z_data,
                             kept.pointer(), r.data());
    });
    kept.write();
    return call.give(r);
  });
}

}  // namespace

void bind_cuda_dense(py::module_& module) {
  using namespace py::literals;
  module.def("dense_forward", &dense_forward, "x"_a, "w"_a, "b"_a = py::none());
  module.def("dense_gradient", &dense_gradient, "x"_a, "w"_a, "b"_a, "G"_a);
  module.def("dense_tangent", &dense_tangent, "x"_a, "w"_a, "b"_a, "dx"_a);
  module.def("dense_relevance", &dense_relevance, "x"_a, "w"_a, "b"_a, "R"_a, "rule"_a, "z"_a = py::none(),
             "account"_a = py::none());
}
