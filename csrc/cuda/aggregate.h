// Sums over the neighbours in a graph as an affine map. Mirrors pyref/layers/aggregate.py.
#pragma once

#include "cuda/affine.h"

namespace relprop::cuda {

// x (samples, nodes, channels), z (samples, after, channels), w (after, nodes): nodes are what an output meets, and
// channels are places. Where w is 0 there is no edge.
inline AffineMap aggregate_map(Index samples, int nodes, int after, int channels) {
  AffineMap map{samples, 1, nodes, after, {1, 1, channels}, {1, 1, channels}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}, false,
                0, 1, nodes, 0};
  map.edges = true;
  return map;
}

}  // namespace relprop::cuda
