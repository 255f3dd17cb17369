// Layer, group, instance and local response normalisation. Mirrors pyref/layers/norm.py; T is float or
// double. Every pointer is to an array without gaps.
#pragma once

#include "machine/isa.h"
#include "machine/memory.h"
#include "math/norm.h"
#include "relprop/account.h"
#include "relprop/rules.h"

namespace relprop {

// A sample has `groups` runs of `length` values, each normalised by itself. Element j of group g has weight and bias
// g · apart + j / run.
struct NormSize {
  Index samples, groups, length, run, apart;
};

// Samples of (channels, positions); a channel sees those from c - before to c + after.
struct LocalResponseSize {
  Index samples, channels, positions, before, after;
};

namespace cpu::for_isa {

// bias: or null
template <class Isa, class T>
void norm_forward(Isa, const NormSize& size, const T* x, const T* weight, const T* bias, T eps, T* y);

template <class Isa, class T>
void norm_gradient(Isa, const NormSize& size, const T* x, const T* weight, T eps, const T* G, T* G_x);

template <class Isa, class T>
void norm_tangent(Isa, const NormSize& size, const T* x, const T* weight, T eps, const T* dx, T* dy);

// r of R under a rule; z: the output where it is known, else null; account: null where nobody asks
template <class Isa, class T>
void norm_relevance(Isa, const NormSize& size, const T* x, const T* weight, const T* bias, T eps, const T* R, const AnyRule<T>& rule,
                    const Bounds<T>& bounds, const T* z, const Account<T>* account, T* r);

template <class Isa, class T>
void norm_multiplier(Isa, const NormSize& size, const T* x, const T* x0, const T* weight, T eps, const T* M, math::Product product,
                     T* M_x);

template <class Isa, class T>
void local_response_norm_forward(Isa, const LocalResponseSize& size, const math::LocalResponse<T>& f, const T* x, T* y);

template <class Isa, class T>
void local_response_norm_gradient(Isa, const LocalResponseSize& size, const math::LocalResponse<T>& f, const T* x, const T* G, T* G_x);

template <class Isa, class T>
void local_response_norm_tangent(Isa, const LocalResponseSize& size, const math::LocalResponse<T>& f, const T* x, const T* dx, T* dy);

template <class Isa, class T>
void local_response_norm_multiplier(Isa, const LocalResponseSize& size, const math::LocalResponse<T>& f, const T* x, const T* x0,
                                    const T* M, math::Product product, T* M_x);

}  // namespace cpu::for_isa

namespace cpu {

RELPROP_CHOOSE(norm_forward)
RELPROP_CHOOSE(norm_gradient)
RELPROP_CHOOSE(norm_tangent)
RELPROP_CHOOSE(norm_relevance)
RELPROP_CHOOSE(norm_multiplier)
RELPROP_CHOOSE(local_response_norm_forward)
RELPROP_CHOOSE(local_response_norm_gradient)
RELPROP_CHOOSE(local_response_norm_tangent)
RELPROP_CHOOSE(local_response_norm_multiplier)

}  // namespace cpu
}  // namespace relprop
