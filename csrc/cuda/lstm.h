// The LSTM on the device, one direction. Mirrors pyref/layers/lstm.py; T is float or double, pointers are to device memory.
//
// What is passed is as on the CPU: relprop/lstm.h. Functions return once their kernels are on the stream.
#pragma once

#include "cuda/recurrent.h"
#include "relprop/lstm.h"

namespace relprop::cuda {

using cpu::LSTMRecord;
using cpu::LSTMStates;

// x (samples, steps, inputs) without gaps, zeros where it is padding; h0, c0 (samples, width) or null for zeros
template <class T>
void lstm_forward(const char* operation, Stream stream, const RecurrentSize& size, const Time& time, const T* x,
                  const RecurrentWeights<T>& w, const T* h0, const T* c0, const LSTMStates<T>& out);

// G (samples, steps, width) at h, G_last (samples, width) at the last h or null  →  G_x, G_h0, G_c0
template <class T>
void lstm_gradient(const char* operation, Stream stream, const RecurrentSize& size, const Time& time, const LSTMRecord<T>& record,
                   const RecurrentWeights<T>& w, const T* G, const T* G_last, T* G_x, T* G_h0, T* G_c0);

// R, R_last as G, G_last; record.x without gaps  →  R_x, R_h0, R_c0. account: bias (samples, 4 width)
template <class T>
void lstm_relevance(const char* operation, Stream stream, const RecurrentSize& size, const Time& time, const LSTMRecord<T>& record,
                    const RecurrentWeights<T>& w, const T* R, const T* R_last, const AnyRule<T>& rule, math::Gate gate,
                    const RecurrentBounds<T>& bounds, const Account<T>* account, T* R_x, T* R_h0, T* R_c0);

// dx (samples, steps, inputs), zeros where it is padding; dh0, dc0 (samples, width) or null  →  dh, dh_last, dc_last
template <class T>
void lstm_tangent(const char* operation, Stream stream, const RecurrentSize& size, const Time& time, const LSTMRecord<T>& record,
                  const RecurrentWeights<T>& w, const T* dx, const T* dh0, const T* dc0, T* dh, T* dh_last, T* dc_last);

// M, M_last as G, G_last; record0: that of the baseline  →  M_x, M_h0, M_c0
template <class T>
void lstm_multiplier(const char* operation, Stream stream, const RecurrentSize& size, const Time& time, const LSTMRecord<T>& record,
                     const LSTMRecord<T>& record0, const RecurrentWeights<T>& w, const T* M, const T* M_last, math::Product product,
                     T* M_x, T* M_h0, T* M_c0);

}  // namespace relprop::cuda
