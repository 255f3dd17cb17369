#include "cuda/shape.h"

#include "machine/cuda/block.cuh"
#include "machine/cuda/launch.cuh"

namespace relprop::cuda {

namespace {

constexpr int threads = 256;

template <class From, class To>
__global__ void pack_kernel(const Layout layout, Index size, const From* from, To* to) {
  const Index i = Index(blockIdx.x) * threads + threadIdx.x;
  if (i >= size) return;
  Index rest = i, place = 0;
  for (int d = layout.rank - 1; d >= 0; --d) {
    place += rest % layout.shape[d] * layout.strides[d];
    rest /= layout.shape[d];
  }
  to[i] = static_cast<To>(from[place]);
}

}  // namespace

template <class From, class To>
void pack(const char* operation, Stream stream, const Layout& layout, const From* from, To* to) {
  const Index size = layout.size();
  launch(operation, stream, {blocks(size, threads), threads}, &pack_kernel<From, To>, layout, size, from, to);
}

template void pack(const char*, Stream, const Layout&, const float*, float*);
template void pack(const char*, Stream, const Layout&, const float*, double*);
template void pack(const char*, Stream, const Layout&, const double*, double*);
template void pack(const char*, Stream, const Layout&, const std::int32_t*, Index*);
template void pack(const char*, Stream, const Layout&, const Index*, Index*);

}  // namespace relprop::cuda
