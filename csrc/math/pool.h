// The complete DeepLIFT multiplier of a maximum, on scalars. Mirrors pyref/layers/pool.py.
#pragma once

#include "numerics.h"

namespace relprop::math {

// Δy split at M = max(y, y0): M - y0 belongs to the winner of x, y - M to the winner of x0.
template <class T>
HD T pool_rise(T y, T y0) {
  return larger(y, y0) - y0;
}
template <class T>
HD T pool_fall(T y, T y0) {
  return y - larger(y, y0);
}

// What an input that changed by dx hands on of M, given its part (rise, fall) of Δy.  [shrikumar2017] sec. 3.2
template <class T>
HD T pool_multiplier(T rise, T fall, T dx, T M) {
  // where neither maximum is, the change must not divide anything
  return (rise != 0 || fall != 0 ? safe_divide(rise + fall, dx) : T(0)) * M;
}

}  // namespace relprop::math
