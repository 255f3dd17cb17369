// The questions to a layer that is an affine map, of which only the geometry differs.
#pragma once

#include "cuda/affine.h"
#include "door.h"

namespace relprop::bind {

// The map and the shape of z.
template <class Map>
struct LayerOf {
  Map map;
  std::vector<Index> z;
};
using AffineLayer = LayerOf<cuda::AffineMap>;

// In the place of weights or a bias that a layer has not.
inline Argument nothing() { return or_none("", py::none()); }

template <class Map>
py::object affine_forward(const char* operation, const LayerOf<Map>& layer, const Argument& x, const Argument& w, const Argument& b) {
  if (b) check_shape(b, {layer.map.channels()});
  Call call(operation, {&x, &w, &b});
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const T *x_data = call.in<T>(x), *w_data = call.in<T>(w), *b_data = call.in<T>(b);
    const auto z = call.out<T>(layer.z);
    call.run([&] { cuda::layer_forward(call.operation(), call.stream(), layer.map, x_data, w_data, b_data, z.data()); });
    return call.give(z);
  });
}

template <class Map>
py::object affine_gradient(const char* operation, const LayerOf<Map>& layer, const Argument& x, const Argument& w, const Argument& G) {
  check_shape(G, layer.z);
  Call call(operation, {&w, &G});
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const T *w_data = call.in<T>(w), *G_data = call.in<T>(G);
    const auto G_x = call.out<T>(x.shape());
    call.run([&] { cuda::layer_gradient(call.operation(), call.stream(), layer.map, w_data, G_data, G_x.data()); });
    return call.give(G_x);
  });
}

template <class Map>
py::object affine_relevance(const char* operation, const LayerOf<Map>& layer, const Argument& x, const Argument& w, const Argument& b,
                            const Argument& R, const py::object& rule, const Argument& z, const py::object& account) {
  check_shape(R, layer.z);
  if (b) check_shape(b, {layer.map.channels()});
  if (z) check_shape(z, layer.z);
  Call call(operation, {&x, &w, &b, &R, &z});
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const auto made = device_rule<T>(call, rule, x);
    if (std::holds_alternative<math::Pass<T>>(made.rule)) return pass(x, R);
    const T *x_data = call.in<T>(x), *w_data = call.in<T>(w), *b_data = call.in<T>(b), *R_data = call.in<T>(R), *z_data = call.in<T>(z);
    const DeviceAccount<T> kept(call, account, R, bool(b));
    const auto r = call.out<T>(x.shape());
    call.run([&] {
      cuda::layer_relevance(call.operation(), call.stream(), layer.map, x_data, w_data, b_data, R_data, made.rule, made.bounds,
                            z_data, kept.pointer(), r.data());
    });
    kept.write();
    return call.give(r);
  });
}

}  // namespace relprop::bind
