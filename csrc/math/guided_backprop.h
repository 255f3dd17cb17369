// What Guided Backpropagation and Deconvnet send back through an activation, on scalars.
// Mirrors pyref/methods/guided_backprop.py.
#pragma once

#include "activation.h"

namespace relprop::math {

// f′(z) · G_a⁺, which at a ReLU is 1[z > 0] · G_a⁺.  [springenberg2015] fig. 1
template <class F, class T>
HD T guided(const F& f, T z, T G) {
  return f.derivative(z) * pos(G);
}

// G_a⁺ at a ReLU, whatever z is; elsewhere as above.  [zeiler2014] sec. 2.1
template <class F, class T>
HD T rectified(const F& f, T z, T G) {
  return guided(f, z, G);
}
template <class T>
HD T rectified(const ReLU<T>&, T, T G) {
  return pos(G);
}

}  // namespace relprop::math
