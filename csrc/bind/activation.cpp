#include "activation.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

struct ActivationOnHost : InHostMemory {
  RELPROP_CPU_KERNEL(activation_forward)
  RELPROP_CPU_KERNEL(activation_gradient)
  RELPROP_CPU_KERNEL(activation_ratio)
  RELPROP_CPU_KERNEL(activation_has_pole)
  RELPROP_CPU_KERNEL(activation_quotient)

  static bool takes(const char*, const py::object& activation) { return is_own(activation); }
  template <class T>
  static cpu::ActivationOf<T> with_one(cpu::ActivationOf<T> of) {
    of.activation = math::PReLU<T>{{*of.slopes}};
    of.slopes = nullptr;
    return of;
  }
};

}  // namespace

void bind_activation(py::module_& cpu) { def_activation<ActivationOnHost>(cpu); }
