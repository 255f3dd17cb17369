// Convolution over one to three axes as an affine map. Mirrors pyref/layers/conv.py.
#pragma once

#include "cuda/affine.h"
#include "relprop/window.h"

namespace relprop::cuda {

// A map or its like over windows.
template <class Map>
void set_windows(Map& map, const cpu::Windows& windows) {
  for (int d = 0; d < cpu::window_axes; ++d) {
    map.lengths[d] = static_cast<int>(windows.lengths[d]);
    map.counts[d] = static_cast<int>(windows.counts[d]);
    map.kernel[d] = static_cast<int>(windows.kernel[d]);
    map.stride[d] = static_cast<int>(windows.stride[d]);
    map.before[d] = static_cast<int>(windows.before[d]);
    map.dilation[d] = static_cast<int>(windows.dilation[d]);
  }
}

// x (samples, groups · inputs, places), z (samples, groups · outputs, positions), w (groups · outputs, inputs, taps).
inline AffineMap conv_map(const cpu::WindowSize& size) {
  AffineMap map{};
  map.samples = size.samples;
  map.groups = static_cast<int>(size.groups);
  map.inputs = static_cast<int>(size.image_channels / size.groups);
  map.outputs = static_cast<int>(size.window_channels / size.groups);
  set_windows(map, size.windows);
  map.w_tap = 1;
  map.w_input = map.taps();
  map.w_output = map.w_input * map.inputs;
  map.w_group = map.w_output * map.outputs;
  return map;
}

}  // namespace relprop::cuda
