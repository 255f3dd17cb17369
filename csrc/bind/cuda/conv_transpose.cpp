#include "cuda/conv_transpose.h"

#include "affine.h"
#include "bind/conv.h"

using namespace relprop;
using namespace relprop::bind;

void bind_cuda_conv_transpose(py::module_& module) { TransposedConvolution<LayersInDeviceMemory<cuda::conv_transpose_map>>::def_all(module); }
