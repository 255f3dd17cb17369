#include "aggregate.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

struct AggregateKernels : AsGiven {
  template <class T>
  static void forward(const cpu::AggregateSize& size, const T* x, const T* adjacency, const T*, T* z) {
    cpu::aggregate_forward(size, x, adjacency, z);
  }
  static constexpr auto gradient = [](const auto&... of) { cpu::aggregate_gradient(of...); };
  template <class T, class... Of>
  static void relevance(const cpu::AggregateSize& size, const T* x, const T* adjacency, const T*, const Of&... of) {
    cpu::aggregate_relevance(size, x, adjacency, of...);
  }
};

}  // namespace

void bind_aggregate(py::module_& cpu) { def_aggregate<LayersInHostMemory<AggregateKernels>>(cpu); }
