// The GRU on the device, one direction. Mirrors pyref/layers/gru.py; T is float or double, pointers are to device memory.
//
// What is passed is as on the CPU: relprop/gru.h. Functions return once their kernels are on the stream.
#pragma once

#include "cuda/recurrent.h"
#include "relprop/gru.h"

namespace relprop::cuda {

using cpu::GRURecord;
using cpu::GRUStates;
using cpu::GRUWeights;

// x (samples, steps, inputs) without gaps, zeros where it is padding; h0 (samples, width) or null for zeros
template <class T>
void gru_forward(const char* operation, Stream stream, const RecurrentSize& size, const Time& time, const T* x,
                 const GRUWeights<T>& w, const T* h0, const GRUStates<T>& out);

// G (samples, steps, width) at h, G_last (samples, width) at the last h or null  →  G_x, G_h0
template <class T>
void gru_gradient(const char* operation, Stream stream, const RecurrentSize& size, const Time& time, const GRURecord<T>& record,
                  const GRUWeights<T>& w, const T* G, const T* G_last, T* G_x, T* G_h0);

// R, R_last as G, G_last; record.x without gaps  →  R_x, R_h0. account: bias (samples, 5 width): b in its blocks r u n, b_n,
// the constant 1
template <class T>
void gru_relevance(const char* operation, Stream stream, const RecurrentSize& size, const Time& time, const GRURecord<T>& record,
                   const GRUWeights<T>& w, const T* R, const T* R_last, const AnyRule<T>& rule, math::Gate gate,
                   const RecurrentBounds<T>& bounds, const Account<T>* account, T* R_x, T* R_h0);

// dx (samples, steps, inputs), zeros where it is padding; dh0 (samples, width) or null  →  dh, dh_last
template <class T>
void gru_tangent(const char* operation, Stream stream, const RecurrentSize& size, const Time& time, const GRURecord<T>& record,
                 const GRUWeights<T>& w, const T* dx, const T* dh0, T* dh, T* dh_last);

// M, M_last as G, G_last; record0: that of the baseline  →  M_x, M_h0
template <class T>
void gru_multiplier(const char* operation, Stream stream, const RecurrentSize& size, const Time& time, const GRURecord<T>& record,
                    const GRURecord<T>& record0, const GRUWeights<T>& w, const T* M, const T* M_last, math::Product product, T* M_x,
                    T* M_h0);

}  // namespace relprop::cuda
