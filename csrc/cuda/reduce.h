// Sums and averages over boxes on the device: over axes, and of windows. Mirrors pyref/layers/reduce.py and the averages
// of pyref/layers/pool.py; pointers are to device memory. They are affine maps whose weights are 1 or 1 / n.
#pragma once

#include "machine/cuda/memory.h"
#include "math/hd.h"
#include "relprop/account.h"
#include "relprop/rules.h"

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

template <class T>
void reduce_forward(const char* operation, Stream stream, const BoxMap& map, const T* x, T* z);

// G_x of G: every place receives that of the boxes that cover it
template <class T>
void reduce_gradient(const char* operation, Stream stream, const BoxMap& map, const T* G, T* G_x);

// r of x under a rule, which is not Pass; bounds, z and account as in affine.h
template <class T>
void reduce_relevance(const char* operation, Stream stream, const BoxMap& map, const T* x, const T* R, const AnyRule<T>& rule,
                      const Bounds<T>& bounds, const T* z, const Account<T>* account, T* r);

}  // namespace relprop::cuda
