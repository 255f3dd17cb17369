#include "conv.h"

#include "relprop/conv.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

struct ConvKernels : AsGiven {
  static constexpr bool takes_one = true;
  static constexpr auto forward = [](const auto&... of) { cpu::conv_forward(of...); };
  static constexpr auto gradient = [](const auto&... of) { cpu::conv_gradient(of...); };
  static constexpr auto relevance = [](const auto&... of) { cpu::conv_relevance(of...); };
};

}  // namespace

void bind_conv(py::module_& cpu) { Convolution<LayersInHostMemory<ConvKernels>>::def_all(cpu); }
