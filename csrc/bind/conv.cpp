#include "conv.h"

#include "relprop/conv.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

struct ConvKernels : AsGiven {
  static constexpr bool takes_one = true;
  template <class T>
  static void forward(const cpu::WindowSize& size, const T* x, const T* w, const T* b, T* z) {
    cpu::conv_forward(size, x, w, b, false, z);
  }
  template <class T>
  static void rectified(const cpu::WindowSize& size, const T* x, const T* w, const T* b, T* a) {
    cpu::conv_forward(size, x, w, b, true, a);
  }
  static constexpr auto gradient = [](const auto&... of) { cpu::conv_gradient(of...); };
  static constexpr auto relevance = [](const auto&... of) { cpu::conv_relevance(of...); };
};

}  // namespace

void bind_conv(py::module_& cpu) {
  using Of = Convolution<LayersInHostMemory<ConvKernels>>;
  Of::def_all(cpu);
  Of::def_rectified(cpu);
}
