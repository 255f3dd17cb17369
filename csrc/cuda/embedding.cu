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
  int* found;

  HD void operator()(Index i) const {
    const Index t = quotient(i, threads), e = i - t * threads, id = ids[t];
    if (id < 0 || id >= rows)
      *found = 1;
    else if (e < width)
      y[i] = table[id * width + e];
  }
};

}  // namespace

template <class T>
bool embedding_forward(const char* operation, Stream stream, Index count, Index rows, Index width, const Index* ids, const T* table,
                       T* y) {
  const Numbers<int> found(operation, 1, stream);
  clear(operation, found.data(), sizeof(int), stream);
  const Index threads = std::max<Index>(1, width);
  for_each_element(operation, stream, count * threads, Rows<T>{rows, width, threads, ids, table, y, found.data()});
  int answer = 0;
  download(operation, &answer, found.data(), sizeof answer, stream);
  return answer == 0;
}

template bool embedding_forward(const char*, Stream, Index, Index, Index, const Index*, const float*, float*);
template bool embedding_forward(const char*, Stream, Index, Index, Index, const Index*, const double*, double*);

}  // namespace relprop::cuda
