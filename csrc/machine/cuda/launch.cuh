// Starting kernels: the one place that does.
#pragma once

#include <cuda_runtime.h>

#include <type_traits>

#include "machine/cuda/memory.h"

namespace relprop::cuda {

// Blocks, threads of each, bytes of their dynamic shared memory.
struct Shape {
  dim3 grid, block;
  std::size_t shared = 0;
};

// Throws what a status says about an operation; nothing for success.
void check(cudaError_t status, const char* operation);

// After a launch: its error, and under RELPROP_CUDA_SYNC=1 that of its run.
void check_launch(const char* operation, Stream stream);

// Lets a kernel's blocks have more shared memory than they get without asking.
inline void allow_shared(const char* operation, const void* kernel, std::size_t shared) {
  constexpr std::size_t without_asking = 48 * 1024;
  if (shared > without_asking)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)), operation);
}

// Starts a kernel on a stream. An empty grid starts nothing.
template <class... P>
void launch(const char* operation, Stream stream, const Shape& shape, void (*kernel)(P...), const std::common_type_t<P>&... arguments) {
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;
  allow_shared(operation, reinterpret_cast<const void*>(kernel), shape.shared);
#ifdef __CUDACC__
  kernel<<<shape.grid, shape.block, shape.shared, stream>>>(arguments...);
#else
  emulate::launch<P...>(operation, stream, kernel, shape.grid, shape.block, shape.shared, false, arguments...);
#endif
  check_launch(operation, stream);
}

// Blocks of `size` that cover `count`.
inline unsigned blocks(Index count, int size) { return static_cast<unsigned>((count + size - 1) / size); }

}  // namespace relprop::cuda
