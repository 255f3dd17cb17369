#include "cuda/z_box.h"

#include "machine/cuda/elements.cuh"

namespace relprop::cuda {

namespace {

// Every thread that finds an element outside writes the same number.
template <class T>
struct Outside {
  const T* x;
  Index size;
  const T *low, *high;
  int* found;
  HD void operator()(Index i) const {
    const Index j = remainder(i, size);
    if (x[i] < low[j] || x[i] > high[j]) *found = 1;
  }
};

}  // namespace

template <class T>
bool is_inside_box(const char* operation, Stream stream, const T* x, Index samples, Index size, const T* low, const T* high) {
  Numbers<int> found(operation, 1, stream);
  clear(operation, found.data(), sizeof(int), stream);
  for_each_element(operation, stream, samples * size, Outside<T>{x, size, low, high, found.data()});
  int answer = 0;
  download(operation, &answer, found.data(), sizeof answer, stream);
  return answer == 0;
}

template bool is_inside_box(const char*, Stream, const float*, Index, Index, const float*, const float*);
template bool is_inside_box(const char*, Stream, const double*, Index, Index, const double*, const double*);

}  // namespace relprop::cuda
