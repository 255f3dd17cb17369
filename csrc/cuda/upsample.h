// Stretching axes by nearest neighbour or linear interpolation on the device. Mirrors pyref/layers/upsample.py; pointers
// are to device memory.
#pragma once

#include "cuda/layer.h"
#include "math/hd.h"

namespace relprop::cuda {

// Place p of `count` after is at (p · pace + from) / per of the `length` before, as far as that lies between the first
// and the last one. The nearest is the one at or below; else the neighbours on both sides are read.
struct StretchedAxis {
  int length, count;
  Index pace = 1, from = 0, per = 1;
  bool is_nearest = true;
};

// x (samples, outer, lengths) and z (samples, outer, counts); fewer axes have leading ones of one place.
struct UpsampleMap {
  static constexpr int rank = 3;
  Index samples;
  int outer;
  StretchedAxis axes[rank];

  HD int places() const { return axes[0].length * axes[1].length * axes[2].length; }  // of one of outer
  HD int stretched() const { return axes[0].count * axes[1].count * axes[2].count; }
  Index x_size() const { return Index(outer) * places(); }  // of a sample
  Index z_size() const { return Index(outer) * stretched(); }
  int channels() const { return 1; }  // there are no biases
  int channel_apart() const { return 1; }
};

}  // namespace relprop::cuda
