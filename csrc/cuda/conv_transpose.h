// Transposed convolution over one to three axes as an affine map. Mirrors pyref/layers/conv_transpose.py.
#pragma once

#include <utility>

#include "cuda/conv.h"

namespace relprop::cuda {

// size: of the convolution whose adjoint this is, whose image is z.
// x (samples, groups · inputs, places), z (samples, groups · outputs, positions), w (groups · inputs, outputs, taps).
inline AffineMap conv_transpose_map(const cpu::WindowSize& size) {
  AffineMap map = conv_map(size);
  std::swap(map.inputs, map.outputs);
  std::swap(map.lengths, map.counts);
  std::swap(map.w_input, map.w_output);
  map.transposed = true;
  return map;
}

}  // namespace relprop::cuda
