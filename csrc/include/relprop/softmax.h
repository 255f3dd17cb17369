// Softmax and its logarithm over one axis on the CPU. Mirrors pyref/layers/softmax.py; T is float or double.
// Every pointer is to an array (outer, length, inner) without gaps; the length is at least 1.
#pragma once

#include "machine/isa.h"
#include "machine/memory.h"

namespace relprop::cpu {

struct SoftmaxSize {
  Index outer, length, inner;
};

namespace for_isa {

template <class Isa, class T>
void softmax_forward(Isa, const SoftmaxSize& size, const T* x, T* p);

// G_x; of a change dx it is the change of p
template <class Isa, class T>
void softmax_gradient(Isa, const SoftmaxSize& size, const T* x, const T* G, T* G_x);

template <class Isa, class T>
void log_softmax_forward(Isa, const SoftmaxSize& size, const T* x, T* y);

template <class Isa, class T>
void log_softmax_gradient(Isa, const SoftmaxSize& size, const T* x, const T* G, T* G_x);

template <class Isa, class T>
void log_softmax_tangent(Isa, const SoftmaxSize& size, const T* x, const T* dx, T* dy);

}  // namespace for_isa

RELPROP_CHOOSE(softmax_forward)
RELPROP_CHOOSE(softmax_gradient)
RELPROP_CHOOSE(log_softmax_forward)
RELPROP_CHOOSE(log_softmax_gradient)
RELPROP_CHOOSE(log_softmax_tangent)

}  // namespace relprop::cpu
