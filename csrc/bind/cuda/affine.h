// Layers that are affine maps on the device, of which only the geometry differs.
#pragma once

#include "bind/affine.h"
#include "cuda/affine.h"
#include "door.h"

namespace relprop::bind {

// A Door of layers, as bind/affine.h says; map(size) is what kernels take.
inline constexpr auto as_given = [](const auto& map) -> const auto& { return map; };
template <auto& map = as_given>
struct LayersInDeviceMemory : InDeviceMemory {
  template <class Size>
  static py::object forward(const char* operation, const Layer<Size>& layer, const Array& x, const Array& w, const Array& b,
                            bool is_rectified = false) {
    const auto fill = [&](const Call& on, auto in, auto out) {
      cuda::layer_forward(operation, on.stream(), map(layer.size), in[0], in[1], in[2], out[0], is_rectified);
    };
    return filled(operation, {&x, &w, &b}, {layer.z}, fill)[0];
  }
  template <class Size>
  static py::object rectified(const char* operation, const Layer<Size>& layer, const Array& x, const Array& w, const Array& b) {
    return forward(operation, layer, x, w, b, true);
  }
  template <class Size>
  static py::object gradient(const char* operation, const Layer<Size>& layer, const Array& x, const Array& w, const Array& G) {
    const auto fill = [&](const Call& on, auto in, auto out) {
      cuda::layer_gradient(operation, on.stream(), map(layer.size), in[0], in[1], out[0]);
    };
    return filled(operation, {&w, &G}, {shape_of(x)}, fill)[0];
  }
  template <class Size>
  static py::object relevance(const char* operation, const Layer<Size>& layer, const Array& x, const Array& w, const Array& b,
                              const Arriving& given) {
    const auto kernel = [&](const Call& on, const auto&... of) {
      cuda::layer_relevance(operation, on.stream(), map(layer.size), of...);
    };
    return InDeviceMemory::relevance(operation, x, w, b, layer.z, given, kernel);
  }
};

}  // namespace relprop::bind
