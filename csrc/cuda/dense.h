// The dense layer as an affine map. Mirrors pyref/layers/dense.py.
#pragma once

#include "cuda/affine.h"

namespace relprop::cuda {

// x (samples, positions, inputs), z (samples, positions, outputs), w (inputs, outputs).
inline AffineMap dense_map(Index samples, int positions, int inputs, int outputs) {
  AffineMap map{samples, 1, inputs, outputs, {1, 1, positions}, {1, 1, positions}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}, true,
                0, outputs, 1, 0};
  return map;
}

}  // namespace relprop::cuda
