#include "pool.h"

#include "relprop/pool.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

struct PoolOnHost : InHostMemory {
  RELPROP_CPU_KERNEL(max_pool_forward)
  RELPROP_CPU_KERNEL(max_pool_gradient)
  RELPROP_CPU_KERNEL(max_pool_tangent)
  RELPROP_CPU_KERNEL(max_pool_multiplier)
  RELPROP_CPU_KERNEL(max_pool_ray)

  static cpu::PoolSize size_of(Index samples, Index channels, const cpu::Windows& windows) { return {samples, channels, windows}; }
};

}  // namespace

void bind_pool(py::module_& cpu) { def_max_pool<PoolOnHost>(cpu); }
