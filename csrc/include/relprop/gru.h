// The GRU on the CPU, one direction. Mirrors pyref/layers/gru.py; T is float or double.
//
// Blocks r u n of the weights lie side by side. Argument errors are undefined behaviour here: a binding checks.
#pragma once

#include "relprop/recurrent.h"

namespace relprop::cpu {

// w, b_n (width) or null, and the form: linear_before_reset multiplies r with h w_hn + b_n, else r with h.
template <class T>
struct GRUWeights {
  RecurrentWeights<T> w;
  const T* b_n;
  bool linear_before_reset;
};

// What the forward pass computed: x with zeros where it is padding, z (samples, steps, 3 width), the others
// (samples, steps, width).
template <class T>
struct GRURecord {
  Steps<const T> x, z, r, u, n, q, h, h_prev;
};

// What the forward pass writes; q only with linear_before_reset. h has one step more, so that it holds the state
// before each step, too: the first of them in time is the initial state, and the caller's.
template <class T>
struct GRUStates {
  Steps<T> z, gates, q, h;  // gates: r u n side by side
};

namespace for_isa {

// x (samples, steps, inputs) without gaps, zeros where it is padding
template <class Isa, class T>
void gru_forward(Isa, const RecurrentSize& size, const Time& time, const T* x, const GRUWeights<T>& w, const GRUStates<T>& out);

// G (samples, steps, width) at h, G_last (samples, width) at the last h or null  →  G_x, G_h0
template <class Isa, class T>
void gru_gradient(Isa, const RecurrentSize& size, const Time& time, const GRURecord<T>& record, const GRUWeights<T>& w,
                  const T* G, const T* G_last, T* G_x, T* G_h0);

// R, R_last as G, G_last  →  R_x, R_h0. account: bias (samples, 5 width): b in its blocks r u n, b_n, the constant 1
template <class Isa, class T>
void gru_relevance(Isa, const RecurrentSize& size, const Time& time, const GRURecord<T>& record, const GRUWeights<T>& w,
                   const T* R, const T* R_last, const AnyRule<T>& rule, math::Gate gate, const RecurrentBounds<T>& bounds,
                   const Account<T>* account, T* R_x, T* R_h0);

// dx (samples, steps, inputs), zeros where it is padding; dh0 (samples, width) or null  →  dh, dh_last
template <class Isa, class T>
void gru_tangent(Isa, const RecurrentSize& size, const Time& time, const GRURecord<T>& record, const GRUWeights<T>& w,
                 const T* dx, const T* dh0, T* dh, T* dh_last);

// M, M_last as G, G_last; record0: that of the baseline  →  M_x, M_h0
template <class Isa, class T>
void gru_multiplier(Isa, const RecurrentSize& size, const Time& time, const GRURecord<T>& record, const GRURecord<T>& record0,
                    const GRUWeights<T>& w, const T* M, const T* M_last, math::Product product, T* M_x, T* M_h0);

}  // namespace for_isa

RELPROP_CHOOSE(gru_forward)
RELPROP_CHOOSE(gru_gradient)
RELPROP_CHOOSE(gru_relevance)
RELPROP_CHOOSE(gru_tangent)
RELPROP_CHOOSE(gru_multiplier)

}  // namespace relprop::cpu
