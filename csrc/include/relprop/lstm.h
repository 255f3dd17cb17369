// The LSTM on the CPU, one direction. Mirrors pyref/layers/lstm.py; T is float or double.
//
// Blocks i f g o of the weights lie side by side. Argument errors are undefined behaviour here: a binding checks.
#pragma once

#include "relprop/recurrent.h"

namespace relprop::cpu {

// What the forward pass computed: x with zeros where it is padding, z (samples, steps, 4 width), the others
// (samples, steps, width). The gates follow from z.
template <class T>
struct LSTMRecord {
  Steps<const T> x, z, c, c_prev, h, h_prev;
};

// What the forward pass writes. c and h have one step more, so that they hold the state before each step, too: the
// first of them in time is the initial state, and the caller's.
template <class T>
struct LSTMStates {
  Steps<T> z, c, h;
};

namespace for_isa {

// x (samples, steps, inputs) without gaps, zeros where it is padding
template <class Isa, class T>
void lstm_forward(Isa, const RecurrentSize& size, const Time& time, const T* x, const RecurrentWeights<T>& w,
                  const LSTMStates<T>& out);

// G (samples, steps, width) at h, G_last (samples, width) at the last h or null  →  G_x, G_h0, G_c0
template <class Isa, class T>
void lstm_gradient(Isa, const RecurrentSize& size, const Time& time, const LSTMRecord<T>& record, const RecurrentWeights<T>& w,
                   const T* G, const T* G_last, T* G_x, T* G_h0, T* G_c0);

// R, R_last as G, G_last  →  R_x, R_h0, R_c0. account: bias (samples, 4 width)
template <class Isa, class T>
void lstm_relevance(Isa, const RecurrentSize& size, const Time& time, const LSTMRecord<T>& record, const RecurrentWeights<T>& w,
                    const T* R, const T* R_last, const AnyRule<T>& rule, math::Gate gate, const RecurrentBounds<T>& bounds,
                    const Account<T>* account, T* R_x, T* R_h0, T* R_c0);

// dx (samples, steps, inputs), zeros where it is padding; dh0, dc0 (samples, width) or null  →  dh, dh_last, dc_last
template <class Isa, class T>
void lstm_tangent(Isa, const RecurrentSize& size, const Time& time, const LSTMRecord<T>& record, const RecurrentWeights<T>& w,
                  const T* dx, const T* dh0, const T* dc0, T* dh, T* dh_last, T* dc_last);

// M, M_last as G, G_last; record0: that of the baseline  →  M_x, M_h0, M_c0
template <class Isa, class T>
void lstm_multiplier(Isa, const RecurrentSize& size, const Time& time, const LSTMRecord<T>& record, const LSTMRecord<T>& record0,
                     const RecurrentWeights<T>& w, const T* M, const T* M_last, math::Product product, T* M_x, T* M_h0, T* M_c0);

}  // namespace for_isa

RELPROP_CHOOSE(lstm_forward)
RELPROP_CHOOSE(lstm_gradient)
RELPROP_CHOOSE(lstm_relevance)
RELPROP_CHOOSE(lstm_tangent)
RELPROP_CHOOSE(lstm_multiplier)

}  // namespace relprop::cpu
