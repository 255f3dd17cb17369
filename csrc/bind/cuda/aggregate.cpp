#include "bind/aggregate.h"

#include "affine.h"
#include "cuda/aggregate.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

cuda::AffineMap map_of_aggregate(const cpu::AggregateSize& size) {
  return cuda::aggregate_map(size.samples, static_cast<int>(size.nodes), static_cast<int>(size.after), static_cast<int>(size.channels));
}

}  // namespace

void bind_cuda_aggregate(py::module_& module) { def_aggregate<LayersInDeviceMemory<map_of_aggregate>>(module); }
