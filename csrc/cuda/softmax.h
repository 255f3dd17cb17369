// Softmax and its logarithm over one axis on the device. Mirrors pyref/layers/softmax.py; pointers are to device memory.
#pragma once

#include "machine/cuda/memory.h"

namespace relprop::cuda {

// x (outer, length, inner) along the axis in the middle, which is not empty.
struct SoftmaxMap {
  Index outer;
  int length, inner;
};

template <class T>
void softmax_forward(const char* operation, Stream stream, const SoftmaxMap& map, const T* x, T* p);

// G_x; of a change dx it is the change of p
template <class T>
void softmax_gradient(const char* operation, Stream stream, const SoftmaxMap& map, const T* x, const T* G, T* G_x);

template <class T>
void log_softmax_forward(const char* operation, Stream stream, const SoftmaxMap& map, const T* x, T* y);

template <class T>
void log_softmax_gradient(const char* operation, Stream stream, const SoftmaxMap& map, const T* x, const T* G, T* G_x);

template <class T>
void log_softmax_tangent(const char* operation, Stream stream, const SoftmaxMap& map, const T* x, const T* dx, T* dy);

}  // namespace relprop::cuda
