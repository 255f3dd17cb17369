// Products and quotients of two inputs, on scalars. Mirrors pyref/layers/merge.py; relevance and multipliers of
// products are in recurrent.h.
#pragma once

#include "recurrent.h"

namespace relprop::math {

// G_p and G_q of y = p q
template <class T>
HD void product_gradient(T p, T q, T G, T& G_p, T& G_q) {
  G_p = q * G;
  G_q = p * G;
}

// dy of y = p q
template <class T>
HD T product_tangent(T p, T q, T dp, T dq) {
  return q * dp + p * dq;
}

// G_p and G_q of y = p / q:  G / q,  -(G / q) (p / q)
template <class T>
HD void quotient_gradient(T p, T q, T G, T& G_p, T& G_q) {
  G_p = G / q;
  G_q = -G_p * (p / q);
}

// dy of y = p / q:  (dp - (p / q) dq) / q
template <class T>
HD T quotient_tangent(T p, T q, T dp, T dq) {
  return (dp - p / q * dq) / q;
}

// The second factor of p / q as a product
template <class T>
HD T reciprocal(T q) {
  return 1 / q;
}

// The multiplier of q, given that of 1 / q:  (1/q - 1/q0) / (q - q0) = -1 / (q q0)
template <class T>
HD T reciprocal_multiplier(T M, T q, T q0) {
  return -M / (q * q0);
}

}  // namespace relprop::math
