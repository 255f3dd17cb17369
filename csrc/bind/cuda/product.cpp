#include "bind/product.h"

#include "cuda/merge.h"
#include "door.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

struct ProductOnDevice : InDeviceMemory {
  RELPROP_CUDA_KERNEL(multiply_forward)
  RELPROP_CUDA_KERNEL(multiply_gradient)
  RELPROP_CUDA_KERNEL(multiply_tangent)
  RELPROP_CUDA_KERNEL(multiply_multiplier)
  RELPROP_CUDA_KERNEL(divide_forward)
  RELPROP_CUDA_KERNEL(divide_gradient)
  RELPROP_CUDA_KERNEL(divide_tangent)
  RELPROP_CUDA_KERNEL(divide_multiplier)
  RELPROP_CUDA_KERNEL(multiply_relevance)

  static py::object reciprocal(const char* operation, const Argument& q) {
    return filled(operation, {&q}, {q.shape()}, [n = elements(q.shape())](const Call& on, auto in, auto out) {
      cuda::divide_reciprocal(on.operation(), on.stream(), n, in[0], out[0]);
    })[0];
  }
};

}  // namespace

void bind_cuda_product(py::module_& module) { def_product<ProductOnDevice>(module); }
