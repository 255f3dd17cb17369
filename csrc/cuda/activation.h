// Elementwise activations on the device. Mirrors pyref/layers/activation.py; pointers are to device memory.
#pragma once

#include "machine/cuda/memory.h"
#include "relprop/activation.h"

namespace relprop::cuda {

// z (samples, channels, positions) and its activation; the slopes of PReLU are in device memory.
using cpu::ActivationOf;

// a = f(z)
template <class T>
void activation_forward(const char* operation, Stream stream, const ActivationOf<T>& of, const T* z, T* a);

// G_z = f′(z) · G; of a change dz it is the change of a
template <class T>
void activation_gradient(const char* operation, Stream stream, const ActivationOf<T>& of, const T* z, const T* G, T* G_z);

// g = f(z) / σ_ε(z), and f′ at a pole: activation_has_pole says whether there is one, and waits for the answer
template <class T>
void activation_ratio(const char* operation, Stream stream, const ActivationOf<T>& of, const T* z, T epsilon, T* g);
template <class T>
bool activation_has_pole(const char* operation, Stream stream, const ActivationOf<T>& of, const T* z, T epsilon);

// q = (f(z) - f(z0)) / (z - z0), with a z0 for each sample or one for all; or M q
template <class T>
void activation_quotient(const char* operation, Stream stream, const ActivationOf<T>& of, const T* z, const T* z0, bool one_z0, const T* M,
                         T* q);

}  // namespace relprop::cuda
