// Arrays in another layout, precision or shape. Mirrors pyref/layers/shape.py.
#pragma once

#include "machine/cuda/memory.h"
#include "math/hd.h"

namespace relprop::cuda {

// An array as it lies in memory; strides in elements.
struct Layout {
  static constexpr int most = 16;
  int rank = 0;
  Index shape[most] = {}, strides[most] = {};
  HD Index size() const {
    Index n = 1;
    for (int d = 0; d < rank; ++d) n *= shape[d];
    return n;
  }
};

// to, in C order, = from
template <class From, class To>
void pack(const char* operation, Stream stream, const Layout& layout, const From* from, To* to);

// to, in C order, = Σ of from over the axes along which `to` has length 1, in order; from is in C order and has as many
// axes. The adjoint of spreading.
template <class T>
void gather(const char* operation, Stream stream, const Layout& from_layout, const T* from, const Index* to_shape, T* to);

}  // namespace relprop::cuda
