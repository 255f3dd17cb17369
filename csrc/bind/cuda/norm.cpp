#include "cuda/norm.h"

#include "bind/norm.h"
#include "door.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

struct NormOnDevice : InDeviceMemory {
  RELPROP_CUDA_KERNEL(norm_forward)
  RELPROP_CUDA_KERNEL(norm_gradient)
  RELPROP_CUDA_KERNEL(norm_tangent)
  RELPROP_CUDA_KERNEL(norm_relevance)
  RELPROP_CUDA_KERNEL(norm_multiplier)
  RELPROP_CUDA_KERNEL(local_response_norm_forward)
  RELPROP_CUDA_KERNEL(local_response_norm_gradient)
  RELPROP_CUDA_KERNEL(local_response_norm_tangent)
  RELPROP_CUDA_KERNEL(local_response_norm_multiplier)

  static Argument or_ones(const Argument& weight, const std::vector<Index>&) { return weight; }  // null stands for ones
};

}  // namespace

void bind_cuda_norm(py::module_& module) { def_norms<NormOnDevice>(module); }
