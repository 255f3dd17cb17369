#include "cuda/activation.h"

#include <utility>

#include "bind/activation.h"
#include "door.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

struct ActivationOnDevice : InDeviceMemory {
  RELPROP_CUDA_KERNEL(activation_forward)
  RELPROP_CUDA_KERNEL(activation_gradient)
  RELPROP_CUDA_KERNEL(activation_ratio)
  RELPROP_CUDA_KERNEL(activation_has_pole)
  RELPROP_CUDA_KERNEL(activation_quotient)

  static bool takes(const char* operation, const py::object& activation) {
    if (is_own(activation)) return true;
    const auto name = py::str(py::type::of(activation).attr("__qualname__")).cast<std::string>();
    throw std::runtime_error(std::string(operation) + " has no CUDA kernel for " + name);
  }
  template <class T>
  static cpu::ActivationOf<T> with_one(cpu::ActivationOf<T> of) {
    of.positions *= std::exchange(of.channels, 1);
    return of;
  }
};

}  // namespace

void bind_cuda_activation(py::module_& module) { def_activation<ActivationOnDevice>(module); }
