// Where elements lie, on the device. Mirrors pyref/layers/shape.py.
#pragma once

#include "cuda/shape.h"
#include "machine/cuda/elements.cuh"

namespace relprop::cuda {

// The place of the i-th element of a shape.
HD Index place_of(const Layout& layout, Index i) {
  Index place = 0;
  for (int d = layout.rank - 1; d >= 0; --d) {
    place += remainder(i, layout.shape[d]) * layout.strides[d];
    i = quotient(i, layout.shape[d]);
  }
  return place;
}

}  // namespace relprop::cuda
