// Where branches meet, on the device: weighted sums of inputs, element by element, with relevance under any rule, and
// products and quotients of two. Mirrors pyref/layers/merge.py, and with one input and a weight per channel
// pyref/layers/batchnorm.py.
// Pointers are to device memory; inputs have been spread to the shape of the output.
#pragma once

#include "machine/cuda/memory.h"
#include "math/recurrent.h"
#include "relprop/account.h"
#include "relprop/rules.h"

namespace relprop::cuda {

// One number for each run of elements of a sample; without data, one for all.
template <class T>
struct Runs {
  const T* data = nullptr;
  int run = 1;
  T number = 0;
};

// An input of a sum, its weights, and where its relevance goes.
template <class T>
struct SumTerm {
  const T* x;
  Runs<T> w;
  T* r = nullptr;
};

// z = Σ_k w_k x_k + b over samples of `size` elements, or max(z, 0)
template <class T>
struct Sum {
  static constexpr int most = 16;
  Index samples;
  int size, count;
  SumTerm<T> terms[most];
  bool has_b;
  Runs<T> b;
  bool is_rectified = false;
};

template <class T>
void merge_forward(const char* operation, Stream stream, const Sum<T>& sum, T* z);

// r_k of R under a rule, which is not Pass; account: null where nobody asks
template <class T>
void merge_relevance(const char* operation, Stream stream, const Sum<T>& sum, const T* R, const AnyRule<T>& rule,
                     const Bounds<T>& bounds, const Account<T>* account);

// y = p ⊙ q of `size` elements
template <class T>
void multiply_forward(const char* operation, Stream stream, Index size, const T* p, const T* q, T* y);

// G_p and G_q
template <class T>
void multiply_gradient(const char* operation, Stream stream, Index size, const T* p, const T* q, const T* G, T* G_p, T* G_q);

template <class T>
void multiply_tangent(const char* operation, Stream stream, Index size, const T* p, const T* q, const T* dp, const T* dq, T* dy);

// R_p and R_q of a gate p and a signal q in samples of `size`; dropped (samples): what 0 / 0 drops of each, or null
template <class T>
void multiply_relevance(const char* operation, Stream stream, Index samples, Index size, const T* p, const T* q, const T* R,
                        math::Gate gate, T* dropped, T* R_p, T* R_q);

// M_p and M_q by DeepLIFT, given the baseline's factors
template <class T>
void multiply_multiplier(const char* operation, Stream stream, Index size, const T* p, const T* q, const T* p0, const T* q0,
                         const T* M, math::Product product, T* M_p, T* M_q);

// y = p / q
template <class T>
void divide_forward(const char* operation, Stream stream, Index size, const T* p, const T* q, T* y);

// G_p and G_q
template <class T>
void divide_gradient(const char* operation, Stream stream, Index size, const T* p, const T* q, const T* G, T* G_p, T* G_q);

template <class T>
void divide_tangent(const char* operation, Stream stream, Index size, const T* p, const T* q, const T* dp, const T* dq, T* dy);

// y = 1 / q, the second factor of a quotient as a product
template <class T>
void divide_reciprocal(const char* operation, Stream stream, Index size, const T* q, T* y);

// M_q of q from the M of 1 / q
template <class T>
void divide_multiplier(const char* operation, Stream stream, Index size, const T* M, const T* q, const T* q0, T* M_q);

}  // namespace relprop::cuda
