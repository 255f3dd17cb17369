// Relevance through an affine layer at the door of the host: of every layer but the dense one, whose weights may lie in
// another order.
#pragma once

#include "door.h"

namespace relprop::bind {

// What kernel(x, w, b, R, rule, bounds, z, account, r) writes, all of them pointers but the rule and the bounds. w and b:
// none where the layer has no such array. The kernel holds by value what else it needs. one_x: it wants x and z of one
// sample, which all others repeat.
template <class Kernel>
py::object affine_relevance(const std::vector<Index>& z_shape, const py::array& x, const std::optional<py::array>& w,
                            const std::optional<py::array>& b, const py::object& R_, const py::object& rule, const py::object& z_,
                            const py::object& account, Kernel&& kernel, bool one_x = false) {
  const auto R = floats("R", R_);
  const auto z = floats_or_none("z", z_);
  check_shape("R", R, z_shape);
  if (b) check_shape("b", *b, {z_shape[1]});
  if (z) check_shape("z", *z, z_shape);
  return with_widest({x, w.value_or(x), R, b.value_or(x), z.value_or(x)}, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Packed<T> x_data(one_x ? first_sample(x) : x), R_data(R);
    const auto w_data = packed<T>(w), b_data = packed<T>(b), z_data = packed<T>(z && one_x ? first_sample(*z) : z);
    const auto rule_data = rule_for<T>(rule, x_data);
    if (std::holds_alternative<math::Pass<T>>(rule_data.rule)) return pass(x, R_data);
    const AccountFor<T> kept(account, R, b.has_value());
    auto r = empty<T>(shape_of(x));
    compute(
        [kernel, in = x_data.data(), weights = pointer(w_data), bias = pointer(b_data), arrived = R_data.data(),
         acting = rule_data.rule, bounds = rule_data.bounds, known = pointer(z_data), account = kept.copied(),
         out = r.mutable_data()] { kernel(in, weights, bias, arrived, acting, bounds, known, pointer(account), out); },
        x_data, w_data, b_data, R_data, rule_data.kept_alive, z_data, kept.arrays(), r);
    kept.write();
    return r;
  });
}

}  // namespace relprop::bind
