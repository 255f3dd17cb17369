#include "softmax.h"

#include "relprop/softmax.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

struct SoftmaxOnHost : InHostMemory {
  using Size = cpu::SoftmaxSize;
  RELPROP_CPU_KERNEL(softmax_forward)
  RELPROP_CPU_KERNEL(softmax_gradient)
  RELPROP_CPU_KERNEL(log_softmax_forward)
  RELPROP_CPU_KERNEL(log_softmax_gradient)
  RELPROP_CPU_KERNEL(log_softmax_tangent)
};

}  // namespace

void bind_softmax(py::module_& cpu) { def_softmax<SoftmaxOnHost>(cpu); }
