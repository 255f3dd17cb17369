#include "cuda/z_box.h"

#include "machine/cuda/block.cuh"
#include "machine/cuda/launch.cuh"

namespace relprop::cuda {

namespace {

constexpr int threads = 256;

// Every thread that finds an element outside writes the same number.
template <class T>
__global__ void outside_kernel(const T* x, Index count, Index size, const T* low, const T* high, int* outside) {
  const Index i = Index(blockIdx.x) * threads + threadIdx.x;
  if (i >= count) return;
  if (x[i] < low[i % size] || x[i] > high[i % size]) *outside = 1;
}

}  // namespace

template <class T>
bool is_inside_box(const char* operation, Stream stream, const T* x, Index samples, Index size, const T* low, const T* high) {
  Numbers<int> outside(operation, 1, stream);
  clear(operation, outside.data(), sizeof(int), stream);
  launch(operation, stream, {blocks(samples * size, threads), threads}, &outside_kernel<T>, x, samples * size, size, low, high,
         outside.data());
  int answer = 0;
  download(operation, &answer, outside.data(), sizeof answer, stream);
  return answer == 0;
}

template bool is_inside_box(const char*, Stream, const float*, Index, Index, const float*, const float*);
template bool is_inside_box(const char*, Stream, const double*, Index, Index, const double*, const double*);

}  // namespace relprop::cuda
