// Sums over the neighbours in a graph, of pyref/layers/aggregate.py, at the door of any device.
#pragma once

#include <memory>

#include "affine.h"
#include "relprop/aggregate.h"

namespace relprop::bind {

struct Aggregate {
  static constexpr const char *names[] = RELPROP_AFFINE_NAMES("aggregate"), *weights = "adjacency", *what = "an aggregation";
  static constexpr int channels = -1;

  static auto layer(const std::vector<Index>& x, const std::vector<Index>& adjacency) {
    check_shape("x", x, {any, any, any});
    check_shape("adjacency", adjacency, {any, x[1]});
    return std::make_shared<const Layer<cpu::AggregateSize>>(
        Layer<cpu::AggregateSize>{{x[0], x[1], adjacency[0], x[2]}, {x[0], adjacency[0], x[2]}});
  }
};

template <class Door>
void def_aggregate(py::module_& module) {
  using Of = Affine<Door, Aggregate>;
  using Given = const py::object&;
  def(module, "aggregate_forward", [](Given x, Given adjacency) { return Of::forward(x, adjacency, py::none()); });
  def(module, "aggregate_gradient", [](Given x, Given adjacency, Given G) { return Of::gradient(x, adjacency, py::none(), G); });
  def(module, "aggregate_tangent", [](Given x, Given adjacency, Given dx) { return Of::tangent(x, adjacency, py::none(), dx); });
  def(module, "aggregate_relevance", [](Given x, Given adjacency, Given R, Given rule, Given z, Given account) {
    return Of::relevance(x, adjacency, py::none(), R, rule, z, account);
  });
}

}  // namespace relprop::bind
