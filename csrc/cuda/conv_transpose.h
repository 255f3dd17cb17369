// Transposed convolution over one to three axes as an affine map. Mirrors pyref/layers/conv_transpose.py.
#pragma once

#include <utility>

#include "cuda/conv.h"

namespace relprop::cuda {

// axes: of the convolution whose adjoint this is, so that `length` is of z and `count` of x.
// x (samples, groups · inputs, places), z (samples, groups · outputs, positions), w (groups · inputs, outputs, taps).
inline AffineMap conv_transpose_map(Index samples, int groups, int inputs, int outputs, const ConvAxis* axes, int rank) {
  AffineMap map = conv_map(samples, groups, inputs, outputs, axes, rank);
  std::swap(map.lengths, map.counts);
  map.transposed = true;
  map.w_output = map.taps();
  map.w_input = map.w_output * outputs;
  map.w_group = map.w_input * inputs;
  return map;
}

}  // namespace relprop::cuda
