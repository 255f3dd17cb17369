#include "batchnorm.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

struct BatchNormOnHost : InHostMemory {
  RELPROP_CPU_KERNEL(batchnorm_forward)
  RELPROP_CPU_KERNEL(batchnorm_relevance)
};

}  // namespace

void bind_batchnorm(py::module_& cpu) { def_batchnorm<BatchNormOnHost>(cpu); }
