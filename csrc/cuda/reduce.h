// Sums and averages over boxes on the device: over axes, and of windows. Mirrors pyref/layers/reduce.py and the averages
// of pyref/layers/pool.py; pointers are to device memory. They are affine maps whose weights are 1 or 1 / n.
#pragma once

#include "cuda/layer.h"
#include "math/hd.h"

namespace relprop::cuda {

// Along an axis box o covers the places that there are of
//
//   ⌊o · pace / per⌋ - before  …  ⌈(o · pace + reach) / per⌉ - before - 1
//
// and an average counts those from `least` to `most` - 1, whether there or not.
struct BoxAxis {
  int length, count;  // places and boxes
  int pace = 1, per = 1, reach = 1, before = 0, least = 0, most = 0;
};

// x (samples, outer, lengths) and z (samples, outer, counts); fewer axes have leading ones of one place and one box.
struct BoxMap {
  static constexpr int rank = 4;
  Index samples;
  int outer;
  BoxAxis axes[rank];
  bool averages;  // z_o is the average of box o, else its sum

  HD int places() const { return axes[0].length * axes[1].length * axes[2].length * axes[3].length; }  // of one of outer
  HD int boxes() const { return axes[0].count * axes[1].count * axes[2].count * axes[3].count; }
  Index x_size() const { return Index(outer) * places(); }  // of a sample
  Index z_size() const { return Index(outer) * boxes(); }
  int channels() const { return 1; }  // there are no biases
  int channel_apart() const { return 1; }
};

}  // namespace relprop::cuda
