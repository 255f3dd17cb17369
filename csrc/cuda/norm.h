// Layer, group and instance normalisation, and local response normalisation, on the device. Mirrors pyref/layers/norm.py;
// pointers are to device memory. A sample has at most as many elements as an int counts.
#pragma once

#include "machine/cuda/memory.h"
#include "math/norm.h"
#include "relprop/account.h"
#include "relprop/norm.h"
#include "relprop/rules.h"

namespace relprop::cuda {

// weight and bias: or null
template <class T>
void norm_forward(const char* operation, Stream stream, const NormSize& size, const T* x, const T* weight, const T* bias, T eps, T* y);

template <class T>
void norm_gradient(const char* operation, Stream stream, const NormSize& size, const T* x, const T* weight, T eps, const T* G, T* G_x);

template <class T>
void norm_tangent(const char* operation, Stream stream, const NormSize& size, const T* x, const T* weight, T eps, const T* dx, T* dy);

// r of x under a rule, which is not Pass; bounds, z and account as in affine.h
template <class T>
void norm_relevance(const char* operation, Stream stream, const NormSize& size, const T* x, const T* weight, const T* bias, T eps,
                    const T* R, const AnyRule<T>& rule, const Bounds<T>& bounds, const T* z, const Account<T>* account, T* r);

template <class T>
void norm_multiplier(const char* operation, Stream stream, const NormSize& size, const T* x, const T* x0, const T* weight, T eps,
                     const T* M, math::Product product, T* M_x);

template <class T>
void local_response_norm_forward(const char* operation, Stream stream, const LocalResponseSize& size, const math::LocalResponse<T>& f,
                                 const T* x, T* y);

template <class T>
void local_response_norm_gradient(const char* operation, Stream stream, const LocalResponseSize& size, const math::LocalResponse<T>& f,
                                  const T* x, const T* G, T* G_x);

template <class T>
void local_response_norm_tangent(const char* operation, Stream stream, const LocalResponseSize& size, const math::LocalResponse<T>& f,
                                 const T* x, const T* dx, T* dy);

template <class T>
void local_response_norm_multiplier(const char* operation, Stream stream, const LocalResponseSize& size,
                                    const math::LocalResponse<T>& f, const T* x, const T* x0, const T* M, math::Product product, T* M_x);

}  // namespace relprop::cuda
