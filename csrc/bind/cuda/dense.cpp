#include "cuda/dense.h"

#include "affine.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// The layer that x and w, which fits it, have.
AffineLayer dense_layer(const Argument& x, const Argument& w) {
  const auto shape = x.shape();
  if (shape.empty()) throw py::index_error("tuple Index out of range");
  check_shape(w, {shape.back(), any});
  check_sample("x", shape);
  check_sample("z", with_last(shape, w.shape()[1]));
  const Index samples = shape.size() == 1 ? 1 : shape[0];
  Index positions = 1;
  for (std::size_t d = 1; d + 1 < shape.size(); ++d) positions *= shape[d];
  return {cuda::dense_map(samples, static_cast<int>(positions), static_cast<int>(shape.back()), static_cast<int>(w.shape()[1])),
          with_last(shape, w.shape()[1])};
}

py::object dense_forward(const py::object& x_, const py::object& w_, const py::object& b_) {
  const Argument x("x", x_), w("w", w_), b = or_none("b", b_);
  return affine_forward("dense_forward", dense_layer(x, w), x, w, b);
}

py::object dense_gradient(const py::object& x_, const py::object& w_, const py::object&, const py::object& G_) {
  const Argument x("x", x_), w("w", w_), G("G", G_);
  return affine_gradient("dense_gradient", dense_layer(x, w), x, w, G);
}

py::object dense_tangent(const py::object& x, const py::object& w, const py::object&, const py::object& dx) {
  check_shape(Argument("dx", dx), Argument("x", x).shape());
  return dense_forward(dx, w, py::none());
}

py::object dense_relevance(const py::object& x_, const py::object& w_, const py::object& b_, const py::object& R_,
                           const py::object& rule, const py::object& z_, const py::object& account) {
  const Argument x("x", x_), w("w", w_), b = or_none("b", b_), R("R", R_), z = or_none("z", z_);
  return affine_relevance("dense_relevance", dense_layer(x, w), x, w, b, R, rule, z, account);
}

}  // namespace

void bind_cuda_dense(py::module_& module) {
  def(module, "dense_forward", &dense_forward);
  def(module, "dense_gradient", &dense_gradient);
  def(module, "dense_tangent", &dense_tangent);
  def(module, "dense_relevance", &dense_relevance);
}
