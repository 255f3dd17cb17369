// Convolution over one to three axes as an affine map. Mirrors pyref/layers/conv.py.
#pragma once

#include "cuda/affine.h"

namespace relprop::cuda {

// One axis of a convolution: places, positions, taps and how they meet.
struct ConvAxis {
  int length, count, kernel, stride, before, dilation;
};

// x (samples, groups · inputs, places), z (samples, groups · outputs, positions), w (groups · outputs, inputs, taps).
inline AffineMap conv_map(Index samples, int groups, int inputs, int outputs, const ConvAxis* axes, int rank) {
  AffineMap map{};
  map.samples = samples;
  map.groups = groups;
  map.inputs = inputs;
  map.outputs = outputs;
  for (int d = 0; d < 3; ++d) {
    const ConvAxis axis = d < 3 - rank ? ConvAxis{1, 1, 1, 1, 0, 1} : axes[d - (3 - rank)];
    map.lengths[d] = axis.length;
    map.counts[d] = axis.count;
    map.kernel[d] = axis.kernel;
    map.stride[d] = axis.stride;
    map.before[d] = axis.before;
    map.dilation[d] = axis.dilation;
  }
  map.w_tap = 1;
  map.w_input = map.taps();
  map.w_output = map.w_input * inputs;
  map.w_group = map.w_output * outputs;
  return map;
}

}  // namespace relprop::cuda
