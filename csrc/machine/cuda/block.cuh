// What a block of threads has: tiles of shared memory, and sums in a fixed order.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "math/hd.h"
#include "machine/memory.h"

// Before a loop whose counter must be a constant, so that what it indexes stays in registers.
#ifdef __CUDA_ARCH__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL
#endif

namespace relprop::cuda {

// Shared memory is taken piece by piece; a schedule's host side adds up the same pieces with `room`.
template <class T>
HD constexpr std::size_t room(std::size_t used, int count) {
  return (used + alignof(T) - 1) / alignof(T) * alignof(T) + sizeof(T) * static_cast<std::size_t>(count);
}

#ifdef __CUDACC__

template <class T>
using Tile = T*;

class Shared {
  std::size_t used = 0;

 public:
  template <class T>
  __device__ T* take(int count) {
    extern __shared__ __align__(16) unsigned char relprop_shared_memory[];
    used = room<T>(used, count);
    return reinterpret_cast<T*>(relprop_shared_memory + used - sizeof(T) * static_cast<std::size_t>(count));
  }
};

#else

// A tile that sees every access: outside of it, or at a word that another thread touched since the last barrier.
template <class T>
class Tile {
  T* data = nullptr;
  int count = 0;

 public:
  class Element {
    T* at;

   public:
    explicit Element(T* at) : at(at) {}
    operator T() const {
      emulate::note_read(at, sizeof(T));
      return *at;
    }
    Element& operator=(const T& value) {
      emulate::note_write(at, sizeof(T));
      *at = value;
      return *this;
    }
    Element& operator=(const Element& other) { return *this = T(other); }
    Element(const Element&) = default;
    Element& operator+=(const T& value) { return *this = T(*this) + value; }
  };

  Tile() = default;
  Tile(T* data, int count) : data(data), count(count) {}
  Element operator[](int i) const {
    if (i < 0 || i >= count)
      emulate::fault("element " + std::to_string(i) + " of a tile of " + std::to_string(count));
    return Element(data + i);
  }
};

class Shared {
  std::size_t used = 0;

 public:
  template <class T>
  Tile<T> take(int count) {
    used = room<T>(used, count);
    if (used > emulate::shared_size())
      emulate::fault("takes " + std::to_string(used) + " bytes of " + std::to_string(emulate::shared_size()) +
                     " of shared memory");
    return {reinterpret_cast<T*>(static_cast<unsigned char*>(emulate::shared_memory()) + used) - count, count};
  }
};

#endif

constexpr int warp = 32;

// a · b + c, rounded once on a device.
template <class T>
HD T multiply_add(T a, T b, T c) {
#ifdef __CUDA_ARCH__
  return fma(a, b, c);
#else
  return a * b + c;
#endif
}

// The sum over the lanes of a warp, in lane 0; all lanes take part.
template <class T>
__device__ inline T warp_sum(T value) {
  for (int delta = warp / 2; delta > 0; delta /= 2) value = value + __shfl_down_sync(~0u, value, delta);
  return value;
}

// The sum over the threads of a block of whole warps, in thread 0. scratch: one T per warp, free again after the call.
template <class T>
__device__ inline T block_sum(T value, Tile<T> scratch) {
  const int thread = static_cast<int>(threadIdx.x), warps = static_cast<int>(blockDim.x) / warp;
  value = warp_sum(value);
  if (thread % warp == 0) scratch[thread / warp] = value;
  __syncthreads();
  T sum = 0;
  if (thread == 0)
    for (int w = 0; w < warps; ++w) sum = sum + scratch[w];
  __syncthreads();
  return sum;
}

}  // namespace relprop::cuda
