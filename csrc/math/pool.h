// The maximum and the average of a window, on scalars. Mirrors pyref/layers/pool.py.
#pragma once

#include "numerics.h"

namespace relprop::math {

// Who takes what a window hands back: the first of its maxima, all of them a share, or all of them all of it.
enum class Ties { first, split, all };
constexpr std::array<const char*, 3> words(Ties) { return {"first", "split", "all"}; }

// How DeepLIFT goes through a maximum: complete, or to the winners as a gradient does.
enum class MaxPool { xmax, gradient };
constexpr std::array<const char*, 2> words(MaxPool) { return {"xmax", "gradient"}; }

// The weight of each of n numbers in their average.
template <class T>
HD T average_weight(T n) {
  return 1 / n;
}

// What is `taken` where v takes the place of the maximum y so far, and what is `kept` elsewhere: a NaN does, and stays.
template <class T, class U>
HD U pool_choice(T v, T y, U taken, U kept) {
  const U larger = v <= y ? kept : taken;
  return y == y ? larger : kept;
}
template <class T>
HD bool pool_takes(T v, T y) {
  return pool_choice(v, y, true, false);
}

// Whether v is the maximum y, NaN like NaN.
template <class T>
HD bool pool_is_maximum(T v, T y) {
  return v == y || (v != v && y != y);
}

// When v, which changes by dv, overtakes the maximum y, which changes by dy < dv.
template <class T>
HD T pool_meeting(T y, T v, T dy, T dv) {
  return (y - v) / (dv - dy);
}

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
  const T handed_on = safe_divide(rise + fall, dx) * M;
  return (rise != T{}) | (fall != T{}) ? handed_on : T{};  // where neither maximum is, there is nothing to hand on
}

}  // namespace relprop::math
