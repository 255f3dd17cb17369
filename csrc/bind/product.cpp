#include "product.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

struct ProductOnHost : InHostMemory {
  RELPROP_CPU_KERNEL(multiply_forward)
  RELPROP_CPU_KERNEL(multiply_gradient)
  RELPROP_CPU_KERNEL(multiply_tangent)
  RELPROP_CPU_KERNEL(multiply_multiplier)
  RELPROP_CPU_KERNEL(divide_forward)
  RELPROP_CPU_KERNEL(divide_gradient)
  RELPROP_CPU_KERNEL(divide_tangent)
  RELPROP_CPU_KERNEL(divide_multiplier)
  static constexpr auto multiply_relevance = [](const auto&, Index samples, Index size, const auto&... of) {
    cpu::multiply_relevance(cpu::SumSize{samples, size}, of...);
  };

  static py::object reciprocal(const char* operation, const py::array& q) {
    const auto one = spread(py::module_::import("numpy").attr("ones")(1, q.dtype()), shape_of(q));
    return filled(operation, {&one, &q}, {shape_of(q)}, [n = q.size()](const auto&, auto in, auto out) {
      cpu::divide_forward(static_cast<Index>(n), in[0], in[1], out[0]);
    })[0];
  }
};

}  // namespace

void bind_product(py::module_& cpu) { def_product<ProductOnHost>(cpu); }
