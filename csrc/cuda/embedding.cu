#include "cuda/embedding.h"

#include <algorithm>

#include "machine/cuda/elements.cuh"

namespace relprop::cuda {

namespace {

// Moves an id and a row of the table for each row of y. Every thread that finds an id outside writes the same number.
template <class T>
struct Rows {
  Index rows, width, threads;  // of a row of y, at least one
  const Index* ids;
  const T* table;
  T* y;
  Index* outside;

  HD void operator()(Index i) const {
    const Index t = quotient(i, threads), e = i - t * threads, id = ids[t];
    const bool is_row = id >= 0 && id < rows;
    if (!is_row) *outside = 1;
    if (e < width) y[i] = is_row ? table[id * width + e] : T(0);
  }
};

}  // namespace

template <class T>
void embedding_forward(const char* operation, Stream stream, Index count, Index rows, Index width, const Index* ids, const T* table,
                       T* y, Index* outside) {
  clear(operation, outside, sizeof(Index), stream);
  const Index threads = std::max<Index>(1, width);
  for_each_element(operation, stream, count * threads, Rows<T>{rows, width, threads, ids, table, y, outside});
}

template void embedding_forward(const char*, Stream, Index, Index, Index, const Index*, const float*, float*, Index*);
template void embedding_forward(const char*, Stream, Index, Index, Index, const Index*, const double*, double*, Index*);

}  // namespace relprop::cuda
