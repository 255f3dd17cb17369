// What LSTM and GRU share on the CPU and on the device: sizes, time, and sequences in memory. T is float or double.
#pragma once

#include "machine/isa.h"
#include "machine/memory.h"
#include "math/recurrent.h"
#include "relprop/account.h"
#include "relprop/rules.h"

namespace relprop::cpu {

// x (samples, steps, inputs), h (samples, steps, width)
struct RecurrentSize {
  Index samples, steps, inputs, width;
};

// The order in which steps are read, and how many of each sample are not padding; null where all are.
struct Time {
  bool reverse = false;
  const Index* lengths = nullptr;
};

// A sequence (samples, steps, ·) whose last axis has no gaps.
template <class T>
struct Steps {
  T* data = nullptr;
  Index sample = 0, step = 0;
  HD T* at(Index n, Index t) const { return data + n * sample + t * step; }
};

// w_x (inputs, gates · width), w_h (width, gates · width), b (gates · width) or null; without gaps
template <class T>
struct RecurrentWeights {
  const T *x, *h, *b;
};

// The bounds of a box for x and for h (width); null elsewhere.
template <class T>
struct RecurrentBounds {
  Bounds<T> x, h;
};

}  // namespace relprop::cpu
