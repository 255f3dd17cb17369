// Normalisation by a sample's own statistics, on scalars. Mirrors pyref/layers/norm.py.
//   u = x - mean x,  v = mean u²,  s = 1 / sqrt(v + eps),  n = s u            statistics of m values each
#pragma once

#include "recurrent.h"

namespace relprop::math {

template <class T>
HD T norm_scale(T v, T eps) {
  return T(1) / std::sqrt(v + eps);
}

// The derivative of n, a symmetric matrix, times h:  s (h - mean h - n mean(n h))
template <class T>
HD T norm_gradient(T s, T n, T h, T mean_h, T mean_nh) {
  return s * (h - mean_h - n * mean_nh);
}

// With s a constant an output sees its own input by one weight, w s (1 - 1/m), and each of the others by -w s / m.
template <class T>
struct NormWeights {
  T own, other;
};
template <class T>
HD NormWeights<T> norm_weights(T w, T s, T m) {
  const T scale = w * s;
  return {scale * (m - 1) / m, -scale / m};
}

// Σ_i w_io x_i of an output, given its own input and the total of all.
template <class T>
HD T norm_sum(T own, T other, T x, T total) {
  return own * x + other * (total - x);
}

// Σ_o w_io s_o of an input, given its own output's share and weights and Σ_o other_o s_o.
template <class T>
HD T norm_carry(T own, T other, T share, T total) {
  return own * share + (total - other * share);
}

// DeepLIFT multiplier of v, given Σ h m_s:  Δs / Δv = -s² s̄² / (s + s̄)
template <class T>
HD T norm_multiplier_of_v(T sum, T s, T s0) {
  return -sum * (s * s) * (s0 * s0) / (s + s0);
}

// And that of u:  h m_u + M_v (u + ū) / m
template <class T>
HD T norm_multiplier_of_u(T h, T m_u, T M_v, T u, T u0, T m) {
  return h * m_u + M_v * (u + u0) / m;
}

// y_c = x_c g_c,  g = D^-β,  D_c = k + α Σ_c' x_c'² over the channels that c sees. α is divided by their number.
template <class T>
struct LocalResponse {
  T alpha, beta, k;

  HD T denominator(T squares) const { return k + alpha * squares; }
  HD T gate(T D) const { return std::pow(D, -beta); }
  HD T steep(T D) const { return std::pow(D, -(beta + 1)); }

  // G_x,j = g_j G_j - 2 α β x_j Σ_{c sees j} G_c x_c D_c^-(β+1)
  HD T sent(T x, T G, T D) const { return G * x * steep(D); }
  HD T gradient(T x, T G, T D, T seen) const { return gate(D) * G - 2 * alpha * beta * x * seen; }

  // dy_c = g_c dx_c - 2 α β x_c D_c^-(β+1) Σ_c' x_c' dx_c'
  HD T tangent(T x, T dx, T D, T sees) const { return gate(D) * dx - 2 * alpha * beta * x * steep(D) * sees; }

  // Δg / ΔD = D̄^-β expm1(-β log1p(ΔD / D̄)) / ΔD
  HD T quotient(T D, T D0) const {
    const T change = D - D0;
    return change == 0 ? -beta * steep(D0) : safe_divide(gate(D0) * expm1(-beta * std::log1p(change / D0)), change);
  }

  // The multiplier that reaches Σ x², of which the one of x is the sum over those that see it.
  HD T multiplier_of_square(T x, T x0, T M, T D, T D0, Product product) const {
    T m_g, m_x;
    product_multiplier(gate(D), x, gate(D0), x0, product, m_g, m_x);
    return M * m_g * quotient(D, D0);
  }
  HD T multiplier(T x, T x0, T M, T D, T D0, T seen, Product product) const {
    T m_g, m_x;
    product_multiplier(gate(D), x, gate(D0), x0, product, m_g, m_x);
    return M * m_x + seen * alpha * (x + x0);
  }
};

}  // namespace relprop::math
