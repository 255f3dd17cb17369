// Products y = p ⊙ q of a gate p and a signal q, on scalars. Mirrors pyref/layers/recurrent.py.
#pragma once

#include "numerics.h"

namespace relprop::math {

enum class Gate { all, half, prop, abs, gradient };
constexpr std::array<const char*, 5> words(Gate) { return {"all", "half", "prop", "abs", "gradient"}; }

enum class Product { symmetric, gradient };
constexpr std::array<const char*, 2> words(Product) { return {"symmetric", "gradient"}; }

// Relevance of the factors: R_p, R_q, and what is dropped where 0 / 0.
//
//   all       0, R                                 half      R / 2, R / 2
//   prop      R p / (p + q), R q / (p + q)         abs       the same of |p|, |q|
//   gradient  R, R
//
// [arras2017], [arras2019] sec. 11.3; [ancona2017] for gradient.
template <class T>
HD void product_relevance(T R, T p, T q, Gate gate, T& R_p, T& R_q, T& dropped) {
  dropped = T(0);
  if (gate == Gate::all || gate == Gate::half || gate == Gate::gradient) {
    R_q = gate == Gate::half ? R / 2 : R;
    R_p = gate == Gate::all ? T(0) : R_q;
    return;
  }
  if (gate == Gate::abs) {
    p = std::fabs(p);
    q = std::fabs(q);
  }
  const T total = p + q, s = safe_divide(R, total);
  R_p = p * s;
  R_q = q * s;
  if (total == 0) dropped = R;
}

// DeepLIFT multipliers of the factors, given the baseline's:  (q + q0) / 2, (p + p0) / 2  or  q, p.
template <class T>
HD void product_multiplier(T p, T q, T p0, T q0, Product product, T& m_p, T& m_q) {
  m_p = product == Product::gradient ? q : (q + q0) / 2;
  m_q = product == Product::gradient ? p : (p + p0) / 2;
}

}  // namespace relprop::math
