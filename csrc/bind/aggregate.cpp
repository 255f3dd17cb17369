#include "relprop/aggregate.h"

#include "affine.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

cpu::AggregateSize aggregate_size(const py::array& x, const py::array& adjacency) {
  check_shape("x", x, {any, any, any});
  check_shape("adjacency", adjacency, {any, x.shape(1)});
  return {x.shape(0), x.shape(1), adjacency.shape(0), x.shape(2)};
}

std::vector<Index> shape_after(const cpu::AggregateSize& size) { return {size.samples, size.after, size.channels}; }

py::object aggregate_forward(const py::object& x_, const py::object& adjacency_) {
  const auto x = floats("x", x_), adjacency = floats("adjacency", adjacency_);
  const auto size = aggregate_size(x, adjacency);
  return filled({x, adjacency}, {shape_after(size)},
                [&](auto in, auto out) { cpu::aggregate_forward(size, in[0], in[1], out[0]); })[0];
}

py::object aggregate_gradient(const py::object& x_, const py::object& adjacency_, const py::object& G_) {
  const auto x = floats("x", x_), adjacency = floats("adjacency", adjacency_), G = floats("G", G_);
  const auto size = aggregate_size(x, adjacency);
  check_shape("G", G, shape_after(size));
  return filled({adjacency, G}, {shape_of(x)},
                [&](auto in, auto out) { cpu::aggregate_gradient(size, in[0], in[1], out[0]); })[0];
}

py::object aggregate_tangent(const py::object& x, const py::object& adjacency, const py::object& dx_) {
  const auto dx = floats("dx", dx_);
  check_shape("dx", dx, shape_of(floats("x", x)));
  return aggregate_forward(dx, adjacency);
}

py::object aggregate_relevance(const py::object& x_, const py::object& adjacency_, const py::object& R, const py::object& rule,
                               const py::object& z, const py::object& account) {
  const auto x = floats("x", x_), adjacency = floats("adjacency", adjacency_);
  const auto size = aggregate_size(x, adjacency);
  const auto kernel = [size](auto in, auto edges, auto, const auto&... of) { cpu::aggregate_relevance(size, in, edges, of...); };
  return affine_relevance(shape_after(size), x, adjacency, std::nullopt, R, rule, z, account, kernel);
}

}  // namespace

void bind_aggregate(py::module_& cpu) {
  def(cpu, "aggregate_forward", &aggregate_forward);
  def(cpu, "aggregate_gradient", &aggregate_gradient);
  def(cpu, "aggregate_tangent", &aggregate_tangent);
  def(cpu, "aggregate_relevance", &aggregate_relevance);
}
