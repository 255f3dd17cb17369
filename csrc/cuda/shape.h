// Arrays that do not lie in C order, or in another precision, as arrays that do. Mirrors pyref/layers/shape.py.
#pragma once

#include "machine/cuda/memory.h"

namespace relprop::cuda {

// An array as it lies in memory; strides in elements.
struct Layout {
  static constexpr int most = 16;
  int rank = 0;
  Index shape[most] = {}, strides[most] = {};
  Index size() const {
    Index n = 1;
    for (int d = 0; d < rank; ++d) n *= shape[d];
    return n;
  }
};

// to, in C order, = from
template <class From, class To>
void pack(const char* operation, Stream stream, const Layout& layout, const From* from, To* to);

}  // namespace relprop::cuda
