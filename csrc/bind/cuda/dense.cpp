#include "bind/dense.h"

#include "affine.h"
#include "cuda/dense.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

cuda::AffineMap map_of_dense(const cpu::DenseSize& size) {
  return cuda::dense_map(size.samples, static_cast<int>(size.positions), static_cast<int>(size.inputs), static_cast<int>(size.outputs));
}

}  // namespace

void bind_cuda_dense(py::module_& module) { Affine<LayersInDeviceMemory<map_of_dense>, Dense>::def_all(module); }
