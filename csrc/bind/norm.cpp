#include "norm.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

struct NormOnHost : InHostMemory {
  RELPROP_CPU_KERNEL(norm_forward)
  RELPROP_CPU_KERNEL(norm_gradient)
  RELPROP_CPU_KERNEL(norm_tangent)
  RELPROP_CPU_KERNEL(norm_relevance)
  RELPROP_CPU_KERNEL(norm_multiplier)
  RELPROP_CPU_KERNEL(local_response_norm_forward)
  RELPROP_CPU_KERNEL(local_response_norm_gradient)
  RELPROP_CPU_KERNEL(local_response_norm_tangent)
  RELPROP_CPU_KERNEL(local_response_norm_multiplier)

  static py::array or_ones(const py::array& weight, const std::vector<Index>& shape) {
    if (weight) return weight;
    auto ones = empty<float>(shape);
    std::fill_n(ones.mutable_data(), ones.size(), float{1});
    return ones;
  }
};

}  // namespace

void bind_norm(py::module_& cpu) { def_norms<NormOnHost>(cpu); }
