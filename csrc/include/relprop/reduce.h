// Weighted sums over boxes on the CPU: sums and means over axes, and average pooling.
// Mirrors pyref/layers/reduce.py and the averages of pyref/layers/pool.py; T is float or double.
//
// A sample x (channels, *lengths) becomes z (channels, *counts); z_o = w_o Σ x over box o, the product of one
// interval per axis. Every pointer is to an array without gaps.
#pragma once

#include "machine/isa.h"
#include "machine/memory.h"
#include "relprop/account.h"
#include "relprop/rules.h"

namespace relprop::cpu {

// Interval o is start[o] … stop[o] - 1. Where start is null each interval is one place, and count = length.
struct BoxAxis {
  Index length, count;
  const Index* start = nullptr;
  const Index* stop = nullptr;
};

struct BoxSize {
  Index samples, channels;
  int rank;
  const BoxAxis* axes;
};

namespace for_isa {

// w (*counts), as in the other functions
template <class Isa, class T>
void reduce_forward(Isa, const BoxSize& size, const T* x, const T* w, T* z);

// G_x: every place receives w_o G_o of the boxes that it is in
template <class Isa, class T>
void reduce_gradient(Isa, const BoxSize& size, const T* w, const T* G, T* G_x);

// r of R under a rule; z: the sums where they are known, else null; account: null where nobody asks
template <class Isa, class T>
void reduce_relevance(Isa, const BoxSize& size, const T* x, const T* w, const T* R, const AnyRule<T>& rule,
                      const Bounds<T>& bounds, const T* z, const Account<T>* account, T* r);

}  // namespace for_isa

RELPROP_CHOOSE(reduce_forward)
RELPROP_CHOOSE(reduce_gradient)
RELPROP_CHOOSE(reduce_relevance)

}  // namespace relprop::cpu
