#include "cuda/softmax.h"

#include "bind/softmax.h"
#include "door.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

struct SoftmaxOnDevice : InDeviceMemory {
  using Size = cuda::SoftmaxMap;
  RELPROP_CUDA_KERNEL(softmax_forward)
  RELPROP_CUDA_KERNEL(softmax_gradient)
  RELPROP_CUDA_KERNEL(log_softmax_forward)
  RELPROP_CUDA_KERNEL(log_softmax_gradient)
  RELPROP_CUDA_KERNEL(log_softmax_tangent)
};

}  // namespace

void bind_cuda_softmax(py::module_& module) { def_softmax<SoftmaxOnDevice>(module); }
