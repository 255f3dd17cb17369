// The dense layer on the CPU: z = x w + b. Mirrors pyref/layers/dense.py; T is float or double.
//
// Every pointer is to an array without gaps. Argument errors are undefined behaviour here: a binding checks.
#pragma once

#include "machine/blas.h"
#include "machine/isa.h"
#include "relprop/account.h"
#include "relprop/rules.h"

namespace relprop::cpu {

// x (samples, positions, inputs): positions are the axes between the first and the last, multiplied.
struct DenseSize {
  Index samples, positions, inputs, outputs;
  bool one_x = false;  // relevance: x and z are one sample's, and so those of all
  Index rows() const { return samples * positions; }
};

// w (inputs, outputs), in memory in this order or transposed.
template <class T>
struct DenseWeights {
  const T* data;
  bool transposed = false;
};

namespace for_isa {

// z (samples, positions, outputs) = x w + b; b (outputs) or null
template <class Isa, class T>
void dense_forward(Isa, const DenseSize& size, const T* x, const DenseWeights<T>& w, const T* b, T* z);

// G_x (samples, positions, inputs) = G wᵀ
template <class Isa, class T>
void dense_gradient(Isa, const DenseSize& size, const DenseWeights<T>& w, const T* G, T* G_x);

// z (samples, outputs) += Σ_k by_k w[places_k], for places and by (samples, count): what inputs that changed by so much
// are worth; w (inputs, outputs) as it is written, and its rows where by is 0 are not read
template <class Isa, class T>
void dense_update(Isa, Index samples, Index count, Index outputs, const Index* places, const T* by, const T* w, T* z);

// r (samples, positions, inputs) of R (samples, positions, outputs) under a rule;
// z: the pre-activation where it is known, else null; account: null where nobody asks
template <class Isa, class T>
void dense_relevance(Isa, const DenseSize& size, const T* x, const DenseWeights<T>& w, const T* b, const T* R,
                     const AnyRule<T>& rule, const Bounds<T>& bounds, const T* z, const Account<T>* account, T* r);

}  // namespace for_isa

// The same without the tag, with the code for this machine's instruction set.
RELPROP_CHOOSE(dense_forward)
RELPROP_CHOOSE(dense_gradient)
RELPROP_CHOOSE(dense_update)
RELPROP_CHOOSE(dense_relevance)

}  // namespace relprop::cpu
