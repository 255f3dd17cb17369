// Sums over the neighbours in a graph on the CPU: y_n = A x_n. Mirrors pyref/layers/aggregate.py; T is float or double.
// Every pointer is to an array without gaps. Where A is 0 there is no edge, whatever a rule makes of weights.
#pragma once

#include "machine/isa.h"
#include "machine/memory.h"
#include "relprop/account.h"
#include "relprop/rules.h"

namespace relprop::cpu {

// x (samples, nodes, channels), A (after, nodes), y (samples, after, channels)
struct AggregateSize {
  Index samples, nodes, after, channels;
};

namespace for_isa {

template <class Isa, class T>
void aggregate_forward(Isa, const AggregateSize& size, const T* x, const T* A, T* y);

// G_x (samples, nodes, channels) of G in the shape of y
template <class Isa, class T>
void aggregate_gradient(Isa, const AggregateSize& size, const T* A, const T* G, T* G_x);

// r of R under a rule; z: the sums where they are known, else null; account: null where nobody asks
template <class Isa, class T>
void aggregate_relevance(Isa, const AggregateSize& size, const T* x, const T* A, const T* R, const AnyRule<T>& rule,
                         const Bounds<T>& bounds, const T* z, const Account<T>* account, T* r);

}  // namespace for_isa

RELPROP_CHOOSE(aggregate_forward)
RELPROP_CHOOSE(aggregate_gradient)
RELPROP_CHOOSE(aggregate_relevance)

}  // namespace relprop::cpu
