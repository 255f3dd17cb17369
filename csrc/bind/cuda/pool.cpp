#include "cuda/pool.h"

#include "bind/pool.h"
#include "cuda/conv.h"
#include "door.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

struct PoolOnDevice : InDeviceMemory {
  RELPROP_CUDA_KERNEL(max_pool_forward)
  RELPROP_CUDA_KERNEL(max_pool_gradient)
  RELPROP_CUDA_KERNEL(max_pool_tangent)
  RELPROP_CUDA_KERNEL(max_pool_multiplier)
  RELPROP_CUDA_KERNEL(max_pool_ray)

  static cuda::PoolMap size_of(Index samples, Index channels, const cpu::Windows& windows) {
    cuda::PoolMap map{samples, channels, {}, {}, {}, {}, {}, {}};
    cuda::set_windows(map, windows);
    return map;
  }
};

}  // namespace

void bind_cuda_pool(py::module_& module) { def_max_pool<PoolOnDevice>(module); }
