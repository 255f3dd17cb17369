// Batch normalisation at inference on the CPU: y = scale x + shift per channel. Mirrors pyref/layers/batchnorm.py;
// T is float or double. Every pointer is to an array without gaps.
#pragma once

#include "machine/isa.h"
#include "machine/memory.h"
#include "relprop/account.h"
#include "relprop/rules.h"

namespace relprop::cpu {

// x (samples, channels, positions): positions are the axes after the second, multiplied.
struct BatchNormSize {
  Index samples, channels, positions;
};

namespace for_isa {

// y = scale x + shift; shift (channels) or null. With G in place of x and no shift it is the gradient.
template <class Isa, class T>
void batchnorm_forward(Isa, const BatchNormSize& size, const T* x, const T* scale, const T* shift, T* y);

// r of R under a rule; z: the output where it is known, else null; account: null where nobody asks
template <class Isa, class T>
void batchnorm_relevance(Isa, const BatchNormSize& size, const T* x, const T* scale, const T* shift, const T* R,
                         const AnyRule<T>& rule, const Bounds<T>& bounds, const T* z, const Account<T>* account, T* r);

}  // namespace for_isa

RELPROP_CHOOSE(batchnorm_forward)
RELPROP_CHOOSE(batchnorm_relevance)

}  // namespace relprop::cpu
