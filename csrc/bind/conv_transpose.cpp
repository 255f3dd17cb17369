#include "conv.h"

#include "relprop/conv_transpose.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

struct ConvTransposeKernels : AsGiven {
  static constexpr bool takes_one = true;
  static constexpr auto forward = [](const auto&... of) { cpu::conv_transpose_forward(of...); };
  static constexpr auto gradient = [](const auto&... of) { cpu::conv_transpose_gradient(of...); };
  static constexpr auto relevance = [](const auto&... of) { cpu::conv_transpose_relevance(of...); };
};

}  // namespace

void bind_conv_transpose(py::module_& cpu) { TransposedConvolution<LayersInHostMemory<ConvTransposeKernels>>::def_all(cpu); }
