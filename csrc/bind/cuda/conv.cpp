#include "cuda/conv.h"

#include "affine.h"
#include "bind/conv.h"

using namespace relprop;
using namespace relprop::bind;

void bind_cuda_conv(py::module_& module) { Convolution<LayersInDeviceMemory<cuda::conv_map>>::def_all(module); }
