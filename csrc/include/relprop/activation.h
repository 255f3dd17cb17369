// Elementwise activations. Mirrors pyref/layers/activation.py; T is float or double.
//
// The scalar functions, for host and device, are in relprop::math: values, derivatives, ε-LRP ratios, DeepLIFT
// quotients, and what Guided Backpropagation and Deconvnet send back. Below are the loops over arrays on the CPU:
// every pointer is to an array without gaps.
#pragma once

#include <variant>

#include "machine/isa.h"
#include "machine/memory.h"
#include "math/activation.h"
#include "math/guided_backprop.h"

namespace relprop {

namespace detail {
template <class Skipped, class... Activations>
using ActivationVariant = std::variant<Activations...>;
}

// Any of the activations.
#define RELPROP_ITEM(Activation) , math::Activation<T>
template <class T>
using AnyActivation = detail::ActivationVariant<int FOR_EACH_ACTIVATION(RELPROP_ITEM)>;
#undef RELPROP_ITEM

namespace cpu {

// z (samples, channels, positions). PReLU has `slopes` (channels), or null where its own one holds for all.
template <class T>
struct ActivationOf {
  Index samples, channels, positions;
  AnyActivation<T> activation;
  const T* slopes = nullptr;
  Index size() const { return samples * channels * positions; }
};

namespace for_isa {

// a = f(z)
template <class Isa, class T>
void activation_forward(Isa, const ActivationOf<T>& of, const T* z, T* a);

// G_z = f′(z) · G; of a change dz it is the change of a
template <class Isa, class T>
void activation_gradient(Isa, const ActivationOf<T>& of, const T* z, const T* G, T* G_z);

// g = f(z) / σ_ε(z), and f′ at a pole: activation_has_pole says whether there is one
template <class Isa, class T>
void activation_ratio(Isa, const ActivationOf<T>& of, const T* z, T epsilon, T* g);
template <class Isa, class T>
void activation_has_pole(Isa, const ActivationOf<T>& of, const T* z, T epsilon, bool& answer);

// q = (f(z) - f(z0)) / (z - z0), with a z0 for each sample or one for all; or M q
template <class Isa, class T>
void activation_quotient(Isa, const ActivationOf<T>& of, const T* z, const T* z0, bool one_z0, const T* M, T* q);

}  // namespace for_isa

RELPROP_CHOOSE(activation_forward)
RELPROP_CHOOSE(activation_gradient)
RELPROP_CHOOSE(activation_ratio)
RELPROP_CHOOSE(activation_quotient)

template <class T>
bool activation_has_pole(const ActivationOf<T>& of, const T* z, T epsilon) {
  bool answer = false;
  machine::with_isa([&](auto tag) { for_isa::activation_has_pole(tag, of, z, epsilon, answer); });
  return answer;
}

}  // namespace cpu
}  // namespace relprop
