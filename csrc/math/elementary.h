// exp, expm1, log1p and tanh under one name for host and device.
//
// On a device they are CUDA's. On the host the first four are written without branches, tables and calls, so that
// a loop over them becomes vector code; they stay within 2 ulp (tanh: 4).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "numerics.h"

namespace relprop::math {

// What the two formats differ in. A number plus `shifter` holds its nearest integer in the lowest bits.
template <class T>
struct Format;

template <>
struct Format<float> {
  using Int = std::int32_t;
  static constexpr int mantissa = 23, bias = 127, degree_exp = 7, degree_log = 4;
  static constexpr float shifter = 12582912.0f;  // 1.5 · 2²³
  static constexpr float ln2_hi = 0.693359375f, ln2_lo = -2.12194440054690583e-4f;
  static constexpr float lowest = -105, highest = 90;  // exp is 0 below, infinite above
};

template <>
struct Format<double> {
  using Int = std::int64_t;
  static constexpr int mantissa = 52, bias = 1023, degree_exp = 13, degree_log = 10;
  static constexpr double shifter = 6755399441055744.0;  // 1.5 · 2⁵²
  static constexpr double ln2_hi = 0.693147180369123816490, ln2_lo = 1.90821492927058770002e-10;
  static constexpr double lowest = -750, highest = 710;
};

template <class T>
HD typename Format<T>::Int to_bits(T v) {
  typename Format<T>::Int i;
  std::memcpy(&i, &v, sizeof v);
  return i;
}

template <class T>
HD T from_bits(typename Format<T>::Int i) {
  T v;
  std::memcpy(&v, &i, sizeof v);
  return v;
}

// 2^n for a whole number n within the exponents of T.
template <class T>
HD T power_of_2(T n) {
  using F = Format<T>;
  using Unsigned = std::make_unsigned_t<typename F::Int>;
  const auto bits = static_cast<Unsigned>(to_bits(n + F::shifter)) + static_cast<Unsigned>(F::bias);
  return from_bits<T>(static_cast<typename F::Int>(bits << F::mantissa));
}

// Σ_k c_k v^k for k = first … last, by Horner; c is a constant expression of k.
template <class T, class Coefficient, int first, int last>
HD T series(T v) {
  constexpr T c = Coefficient::template at<T>(first);
  if constexpr (first == last)
    return c;
  else
    return c + v * series<T, Coefficient, first + 1, last>(v);
}

struct InverseFactorial {
  template <class T>
  static constexpr T at(int k) {
    double product = 1;
    for (int i = 2; i <= k; ++i) product *= i;
    return T(1 / product);
  }
};

struct InverseOdd {
  template <class T>
  static constexpr T at(int k) {
    return T(2) / T(2 * k + 1);
  }
};

// x = n log 2 + r, |r| ≤ log(2) / 2:  q = exp(r) - 1 by its series;  exp(x) = (1 + q) · up · across, where the two
// factors make 2^n together: one alone would overflow.
template <class T>
struct Exponential {
  T q, up, across, n;

  HD explicit Exponential(T x) {
    using F = Format<T>;
    const T inside = smaller(larger(x, F::lowest), F::highest);
    n = (inside * T(1.4426950408889634) + F::shifter) - F::shifter;  // 1 / log 2
    const T r = (inside - n * F::ln2_hi) - n * F::ln2_lo;
    q = r + r * r * series<T, InverseFactorial, 2, F::degree_exp>(r);
    const T half = (n / 2 + F::shifter) - F::shifter;
    up = power_of_2(half);
    across = power_of_2(n - half);
  }
};

template <class T>
HD T exp(T x) {
#ifdef __CUDA_ARCH__
  return std::exp(x);
#else
  const Exponential<T> e(x);
  return (1 + e.q) * e.up * e.across;
#endif
}

// exp(x) - 1 = 2^n q + (2^n - 1), and exp(x) where 1 no longer matters.
template <class T>
HD T expm1(T x) {
#ifdef __CUDA_ARCH__
  return std::expm1(x);
#else
  const Exponential<T> e(x);
  const T power = e.up * e.across;
  const T small = power * e.q + (power - 1), large = (1 + e.q) * e.up * e.across;
  return e.n > 64 ? large : small;
#endif
}

// log(1 + x) for x ≥ 0:  1 + x = 2^k (1 + f), √½ ≤ 1 + f < √2, and with s = f / (2 + f)
// log(1 + f) = 2 atanh(s) = f - (f²/2 - s (f²/2 + Σ_{j ≥ 1} 2 s^{2j+2} / (2j+1)))
template <class T>
HD T log1p(T x) {
#ifdef __CUDA_ARCH__
  return std::log1p(x);
#else
  using F = Format<T>;
  using Int = typename F::Int;
  using Unsigned = std::make_unsigned_t<Int>;
  const T u = 1 + x;
  const Unsigned one = static_cast<Unsigned>(to_bits(T(1))), root_half = static_cast<Unsigned>(to_bits(T(0.70710678118654757)));
  const Unsigned shifted = static_cast<Unsigned>(to_bits(u)) + (one - root_half);
  const Unsigned exponent = (shifted >> F::mantissa) - static_cast<Unsigned>(F::bias);
  const T k = from_bits<T>(static_cast<Int>(exponent + static_cast<Unsigned>(to_bits(F::shifter)))) - F::shifter;
  const Unsigned fraction = shifted & ((Unsigned(1) << F::mantissa) - 1);
  const bool near = k == 0;
  const T f = near ? x : from_bits<T>(static_cast<Int>(fraction + root_half)) - 1;
  const T lost = near ? T(0) : (x - (u - 1)) / u;  // what 1 + x rounded away
  const T s = f / (2 + f), s2 = s * s, half = f * f / 2;
  const T curved = s * (half + s2 * series<T, InverseOdd, 1, F::degree_log>(s2)) + (k * F::ln2_lo + lost);
  const T y = k * F::ln2_hi - ((half - curved) - f);
  return x - x == 0 ? y : x;
#endif
}

// With e = exp(-2 |z|) - 1:  |e| / (2 + e), and the sign of z.
template <class T>
HD T tanh(T z) {
#ifdef __CUDA_ARCH__
  return std::tanh(z);
#else
  const T e = expm1(-2 * std::fabs(z)), y = std::fabs(e) / (2 + e);
  return z < 0 ? -y : y;
#endif
}

template <class T>
HD T floor(T x) {
  return std::floor(x);
}

}  // namespace relprop::math
