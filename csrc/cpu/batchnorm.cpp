#include "relprop/batchnorm.h"

#include <algorithm>

#include "machine/threads.h"
#include "relprop/merge.h"

namespace relprop::cpu {
namespace {

constexpr Index grain = 1 << 14;

}  // namespace

template <class Isa, class T>
void for_isa::batchnorm_forward(Isa, const BatchNormSize& size, const T* x, const T* scale, const T* shift, T* y) {
  const Index along = size.positions == 1 ? size.channels : size.positions;  // the axis of the inner loop
  const Index rows = size.samples * (size.positions == 1 ? 1 : size.channels);
  machine::parallel(rows, std::max<Index>(1, grain / std::max<Index>(1, along)), [=](Index from, Index to) {
    for (Index row = from; row < to; ++row) {
      const T* in = x + row * along;
      T* out = y + row * along;
      if (size.positions == 1) {
        for (Index c = 0; c < along; ++c) out[c] = in[c] * scale[c];
        for (Index c = 0; c < along && shift; ++c) out[c] += shift[c];
        continue;
      }
      const T w = scale[row % size.channels];
      if (!shift) {
        for (Index j = 0; j < along; ++j) out[j] = in[j] * w;
        continue;
      }
      const T b = shift[row % size.channels];
      for (Index j = 0; j < along; ++j) out[j] = in[j] * w + b;
    }
  });
}

// One input whose weights are diagonal.
template <class Isa, class T>
void for_isa::batchnorm_relevance(Isa isa, const BatchNormSize& size, const T* x, const T* scale, const T* shift, const T* R,
                                  const AnyRule<T>& rule, const Bounds<T>& bounds, const T* z, const Account<T>* account, T* r) {
  const Index run = std::max<Index>(1, size.positions);
  const SumTerm<T> term{x, scale, run, r};
  merge_relevance(isa, {size.samples, size.channels * size.positions, run}, &term, 1, shift, R, rule, bounds, z, account);
}

#define RELPROP_INSTANTIATE(T)                                                                                                \
  template void for_isa::batchnorm_forward(machine::RELPROP_ISA, const BatchNormSize&, const T*, const T*, const T*, T*);     \
  template void for_isa::batchnorm_relevance(machine::RELPROP_ISA, const BatchNormSize&, const T*, const T*, const T*,        \
                                             const T*, const AnyRule<T>&, const Bounds<T>&, const T*, const Account<T>*, T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cpu
