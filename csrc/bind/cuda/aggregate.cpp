#include "cuda/aggregate.h"

#include "affine.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// The layer that x and the adjacency, which fits it, have.
AffineLayer aggregate_layer(const Argument& x, const Argument& adjacency) {
  check_shape(x, {any, any, any});
  const auto shape = x.shape();
  check_shape(adjacency, {any, shape[1]});
  const Index after = adjacency.shape()[0];
  AffineLayer layer{cuda::aggregate_map(shape[0], static_cast<int>(shape[1]), static_cast<int>(after), static_cast<int>(shape[2])),
                    {shape[0], after, shape[2]}};
  check_sample("x", shape);
  check_sample("z", layer.z);
  return layer;
}

py::object aggregate_forward(const py::object& x_, const py::object& adjacency_) {
  const Argument x("x", x_), adjacency("adjacency", adjacency_);
  return affine_forward("aggregate_forward", aggregate_layer(x, adjacency), x, adjacency, nothing());
}

py::object aggregate_gradient(const py::object& x_, const py::object& adjacency_, const py::object& G_) {
  const Argument x("x", x_), adjacency("adjacency", adjacency_), G("G", G_);
  return affine_gradient("aggregate_gradient", aggregate_layer(x, adjacency), x, adjacency, G);
}

py::object aggregate_tangent(const py::object& x, const py::object& adjacency, const py::object& dx) {
  check_shape(Argument("dx", dx), Argument("x", x).shape());
  return aggregate_forward(dx, adjacency);
}

py::object aggregate_relevance(const py::object& x_, const py::object& adjacency_, const py::object& R_, const py::object& rule,
                               const py::object& z_, const py::object& account) {
  const Argument x("x", x_), adjacency("adjacency", adjacency_), R("R", R_), z = or_none("z", z_);
  return affine_relevance("aggregate_relevance", aggregate_layer(x, adjacency), x, adjacency, nothing(), R, rule, z, account);
}

}  // namespace

void bind_cuda_aggregate(py::module_& module) {
  def(module, "aggregate_forward", &aggregate_forward);
  def(module, "aggregate_gradient", &aggregate_gradient);
  def(module, "aggregate_tangent", &aggregate_tangent);
  def(module, "aggregate_relevance", &aggregate_relevance);
}
