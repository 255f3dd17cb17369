// Where branches meet, on the CPU: sums, products, quotients. Mirrors pyref/layers/merge.py; T is float or double.
// Every pointer is to an array without gaps; inputs that broadcast have been spread to the shape of the output.
#pragma once

#include "machine/isa.h"
#include "machine/memory.h"
#include "math/recurrent.h"
#include "relprop/account.h"
#include "relprop/rules.h"

namespace relprop::cpu {

// One input of a sum, with its weight: of element j of a sample it is w[j / run].
template <class T>
struct SumTerm {
  const T* x;
  const T* w;
  Index run;
  T* r = nullptr;  // where its relevance goes
};

// Each sample has `size` elements, in runs of `bias_run` that share a bias; 1 where each has its own.
struct SumSize {
  Index samples, size, bias_run = 1;
};

namespace for_isa {

// z = Σ_k w_k x_k + b, or b null; or where it is rectified max(z, 0)
template <class Isa, class T>
void merge_forward(Isa, const SumSize& size, const SumTerm<T>* terms, int count, const T* b, bool is_rectified, T* z);

// r_k of R under a rule; z: the sum where it is known, else null; account: null where nobody asks
template <class Isa, class T>
void merge_relevance(Isa, const SumSize& size, const SumTerm<T>* terms, int count, const T* b, const T* R,
                     const AnyRule<T>& rule, const Bounds<T>& bounds, const T* z, const Account<T>* account);

// y = p ⊙ q of `size` elements
template <class Isa, class T>
void multiply_forward(Isa, Index size, const T* p, const T* q, T* y);

// G_p = q G and G_q = p G
template <class Isa, class T>
void multiply_gradient(Isa, Index size, const T* p, const T* q, const T* G, T* G_p, T* G_q);

// dy = q dp + p dq
template <class Isa, class T>
void multiply_tangent(Isa, Index size, const T* p, const T* q, const T* dp, const T* dq, T* dy);

// R_p and R_q of a gate p and a signal q; dropped (samples): what 0 / 0 drops of each sample, or null
template <class Isa, class T>
void multiply_relevance(Isa, const SumSize& size, const T* p, const T* q, const T* R, math::Gate gate, T* dropped, T* R_p, T* R_q);

// M_p and M_q by DeepLIFT, given the baseline's factors
template <class Isa, class T>
void multiply_multiplier(Isa, Index size, const T* p, const T* q, const T* p0, const T* q0, const T* M, math::Product product,
                         T* M_p, T* M_q);

// y = p / q
template <class Isa, class T>
void divide_forward(Isa, Index size, const T* p, const T* q, T* y);

// G_p and G_q
template <class Isa, class T>
void divide_gradient(Isa, Index size, const T* p, const T* q, const T* G, T* G_p, T* G_q);

// dy
template <class Isa, class T>
void divide_tangent(Isa, Index size, const T* p, const T* q, const T* dp, const T* dq, T* dy);

// M_q of q from the M of 1 / q
template <class Isa, class T>
void divide_multiplier(Isa, Index size, const T* M, const T* q, const T* q0, T* M_q);

}  // namespace for_isa

RELPROP_CHOOSE(merge_forward)
RELPROP_CHOOSE(merge_relevance)
RELPROP_CHOOSE(multiply_forward)
RELPROP_CHOOSE(multiply_gradient)
RELPROP_CHOOSE(multiply_tangent)
RELPROP_CHOOSE(multiply_relevance)
RELPROP_CHOOSE(multiply_multiplier)
RELPROP_CHOOSE(divide_forward)
RELPROP_CHOOSE(divide_gradient)
RELPROP_CHOOSE(divide_tangent)
RELPROP_CHOOSE(divide_multiplier)

}  // namespace relprop::cpu
