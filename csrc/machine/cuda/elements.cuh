// Loops over the elements of arrays: one function of an index, for all of them.
#pragma once

#include "machine/cuda/launch.cuh"
#include "math/hd.h"

namespace relprop::cuda {

constexpr int element_threads = 256, elements_each = 4;

// i / n and i % n of numbers that are not negative: in 32 bits where they fit, which costs a device far less.
HD Index quotient(Index i, Index n) {
  return (i | n) >> 32 ? i / n : static_cast<Index>(static_cast<std::uint32_t>(i) / static_cast<std::uint32_t>(n));
}
HD Index remainder(Index i, Index n) {
  return (i | n) >> 32 ? i % n : static_cast<Index>(static_cast<std::uint32_t>(i) % static_cast<std::uint32_t>(n));
}

// f(i) for every i below size. Neighbouring threads take neighbouring elements.
template <class F>
__global__ void elements_kernel(const F f, Index size) {
  const Index first = Index(blockIdx.x) * (element_threads * elements_each) + threadIdx.x;
  for (int k = 0; k < elements_each; ++k) {
    const Index i = first + k * element_threads;
    if (i < size) f(i);
  }
}

template <class F>
void for_each_element(const char* operation, Stream stream, Index size, const F& f) {
  launch(operation, stream, {blocks(size, element_threads * elements_each), element_threads}, &elements_kernel<F>, f, size);
}

}  // namespace relprop::cuda
