// Grids whose blocks all run at once, so that they can wait for each other.
#pragma once

#include "machine/cuda/launch.cuh"

#ifdef __CUDACC__
#include <cooperative_groups.h>
#endif

namespace relprop::cuda {

// Waits for all threads of the grid; what they wrote to global memory before can be read after it.
#ifdef __CUDACC__
__device__ inline void sync_grid() { cooperative_groups::this_grid().sync(); }
#else
inline void sync_grid(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { emulate::sync_grid(file, line); }
#endif

// A number that another block wrote before a barrier of the grid: read past the caches of this block's processor.
template <class T>
__device__ inline T from_others(const T* at) {
#ifdef __CUDA_ARCH__
  return __ldcg(at);
#else
  return *at;
#endif
}

// Of the current device: its processors, and the most bytes of shared memory that a block can have.
struct Processors {
  int count, shared;
};
inline Processors processors(const char* operation) {
  int device = 0;
  Processors all{};
  check(cudaGetDevice(&device), operation);
  check(cudaDeviceGetAttribute(&all.count, cudaDevAttrMultiProcessorCount, device), operation);
  check(cudaDeviceGetAttribute(&all.shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), operation);
  return all;
}

// How many blocks of a kernel one processor runs at once.
inline int resident(const char* operation, const void* kernel, int threads, std::size_t shared) {
  int blocks = 0;
  allow_shared(operation, kernel, shared);
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, shared), operation);
  return blocks;
}

// As `launch`; all blocks run at once, or the launch fails.
template <class... P>
void launch_together(const char* operation, Stream stream, const Shape& shape, void (*kernel)(P...),
                     const std::common_type_t<P>&... arguments) {
  allow_shared(operation, reinterpret_cast<const void*>(kernel), shape.shared);
#ifdef __CUDACC__
  void* all[] = {const_cast<void*>(static_cast<const void*>(&arguments))...};
  check(cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(kernel), shape.grid, shape.block, all, shape.shared, stream),
        operation);
#else
  emulate::launch<P...>(operation, stream, kernel, shape.grid, shape.block, shape.shared, true, arguments...);
#endif
  check_launch(operation, stream);
}

}  // namespace relprop::cuda
