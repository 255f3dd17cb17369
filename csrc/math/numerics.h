// The conventions that every rule shares, on scalars. Mirrors pyref/numerics.py.
#pragma once

#include <array>
#include <cmath>

#include "hd.h"

namespace relprop::math {

enum class Stabilizer { add, clip, rms };
constexpr std::array<const char*, 3> words(Stabilizer) { return {"add", "clip", "rms"}; }

// v⁺ = max(v, 0). Written so that NaN stays NaN, which std::fmax would drop.
template <class T>
HD T pos(T v) {
  return v <= 0 ? T(0) : v;
}

// v⁻ = min(v, 0), signed: v = v⁺ + v⁻.
template <class T>
HD T neg(T v) {
  return v >= 0 ? T(0) : v;
}

// max(a, b) and min(a, b); NaN stays NaN. Two selects and no branch, so that loops become vector code.
template <class T>
HD T larger(T a, T b) {
  const T m = a < b ? b : a;
  return b != b ? b : m;
}
template <class T>
HD T smaller(T a, T b) {
  const T m = a > b ? b : a;
  return b != b ? b : m;
}

// s(z) = +1 where z ≥ 0, else -1. Not copysign: s(-0) = +1.
template <class T>
HD T sign(T z) {
  return z >= 0 ? T(1) : T(-1);
}

// The ε that acts on z: ε itself, or under rms ε · sqrt(mean of z² over the sample), which a schedule
// sums up before it divides.
template <class T>
HD T acting_epsilon(T epsilon, Stabilizer stabilizer, T mean_square) {
  return stabilizer == Stabilizer::rms ? epsilon * std::sqrt(mean_square) : epsilon;
}

// σ_ε(z), given the ε that acts: z + ε s(z); clip: s(z) max(|z|, ε). Never plain z + ε.
template <class T>
HD T stabilize(T z, T e, Stabilizer stabilizer) {
  if (stabilizer == Stabilizer::clip) return std::fabs(z) < e ? sign(z) * e : z;
  return z >= 0 ? z + e : z - e;
}

// σ_ε(z) - z from its own formula, given the ε that acts.
template <class T>
HD T stabilizer_excess(T z, T e, Stabilizer stabilizer) {
  if (stabilizer == Stabilizer::clip) return std::fabs(z) < e ? sign(z) * e - z : T(0);
  return sign(z) * e;
}

// numerator / denominator, and 0 where the denominator is 0.
template <class T>
HD T safe_divide(T numerator, T denominator) {
  const T quotient = numerator / denominator;
  return denominator == T{} ? T{} : quotient;
}

}  // namespace relprop::math
