#include "cuda/conv.h"

#include "affine.h"
#include "bind/conv.h"

using namespace relprop;
using namespace relprop::bind;

void bind_cuda_conv(py::module_& module) {
  using Of = Convolution<LayersInDeviceMemory<cuda::conv_map>>;
  Of::def_all(module);
  Of::def_rectified(module);
}
