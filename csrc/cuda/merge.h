// Weighted sums of inputs, element by element, and relevance through them under any rule. Mirrors
// pyref/layers/merge.py, and with one input and a weight per channel pyref/layers/batchnorm.py.
// Pointers are to device memory; inputs have been spread to the shape of the output.
#pragma once

#include "machine/cuda/memory.h"
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

// z = Σ_k w_k x_k + b over samples of `size` elements
template <class T>
struct Sum {
  static constexpr int most = 16;
  Index samples;
  int size, count;
  SumTerm<T> terms[most];
  bool has_b;
  Runs<T> b;
};

template <class T>
void merge_forward(const char* operation, Stream stream, const Sum<T>& sum, T* z);

// r_k of R under a rule, which is not Pass; account: null where nobody asks
template <class T>
void merge_relevance(const char* operation, Stream stream, const Sum<T>& sum, const T* R, const AnyRule<T>& rule,
                     const Bounds<T>& bounds, const Account<T>* account);

}  // namespace relprop::cuda
