#include "relprop/aggregate.h"

#include "door.h"

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

py::object aggregate_relevance(const py::object& x_, const py::object& adjacency_, const py::object& R_, const py::object& rule,
                               const py::object& z_, const py::object& account) {
  const auto x = floats("x", x_), adjacency = floats("adjacency", adjacency_), R = floats("R", R_);
  const auto z = floats_or_none("z", z_);
  const auto size = aggregate_size(x, adjacency);
  check_shape("R", R, shape_after(size));
  if (z) check_shape("z", *z, shape_of(R));
  return with_widest({x, adjacency, R, z.value_or(x)}, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Packed<T> x_data(x), A_data(adjacency), R_data(R);
    const auto z_data = packed<T>(z);
    const auto rule_data = rule_for<T>(rule, x_data);
    if (std::holds_alternative<math::Pass<T>>(rule_data.rule)) return pass(x, R_data);
    const AccountFor<T> kept(account, R, false);
    auto r = empty<T>(shape_of(x));
    T* out = r.mutable_data();
    {
      py::gil_scoped_release release;
      cpu::aggregate_relevance(size, x_data.data(), A_data.data(), R_data.data(), rule_data.rule, rule_data.bounds,
                               pointer(z_data), kept.pointer(), out);
    }
    kept.write();
    return r;
  });
}

}  // namespace

void bind_aggregate(py::module_& cpu) {
  def(cpu, "aggregate_forward", &aggregate_forward);
  def(cpu, "aggregate_gradient", &aggregate_gradient);
  def(cpu, "aggregate_tangent", &aggregate_tangent);
  def(cpu, "aggregate_relevance", &aggregate_relevance);
}
