// Stretching axes by nearest neighbour or linear interpolation. Mirrors pyref/layers/upsample.py; T is float or double.
// Every pointer is to an array without gaps.
#pragma once

#include "machine/isa.h"
#include "machine/memory.h"
#include "relprop/account.h"
#include "relprop/rules.h"

namespace relprop {

// One axis on its way: place p of the `count` after sums weight[t] · place from[t] of the `length` before, over
// t = begin[p] … begin[p + 1] - 1.
template <class T>
struct Taps {
  Index length, count;
  const Index *begin, *from;
  const T* weight;
  Index size() const { return begin[count]; }
};

// Samples x (channels, *lengths) become z (channels, *counts): each axis one way, and by the adjoint the other.
template <class T>
struct UpsampleSize {
  Index samples, channels;
  int rank;
  const Taps<T>*there, *back;
};

namespace cpu {
namespace for_isa {

template <class Isa, class T>
void upsample_forward(Isa, const UpsampleSize<T>& size, const T* x, T* z);

template <class Isa, class T>
void upsample_gradient(Isa, const UpsampleSize<T>& size, const T* G, T* G_x);

// r of R under a rule; z: the output where it is known, else null; account: null where nobody asks
template <class Isa, class T>
void upsample_relevance(Isa, const UpsampleSize<T>& size, const T* x, const T* R, const AnyRule<T>& rule, const Bounds<T>& bounds,
                        const T* z, const Account<T>* account, T* r);

}  // namespace for_isa

RELPROP_CHOOSE(upsample_forward)
RELPROP_CHOOSE(upsample_gradient)
RELPROP_CHOOSE(upsample_relevance)

}  // namespace cpu
}  // namespace relprop
