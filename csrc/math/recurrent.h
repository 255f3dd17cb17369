// The steps of LSTM and GRU, one unit at a time, and products y = p ⊙ q of a gate p and a signal q.
// Mirrors pyref/layers/recurrent.py, lstm.py and gru.py.
#pragma once

#include "activation.h"
#include "numerics.h"
#include "rules/rule.h"

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

// A product on its way back: the multipliers of its gate and of its signal.
template <class T>
struct Factors {
  T gate, signal;
};

template <class T>
HD Factors<T> gradient_of_product(T p, T q) {
  return {q, p};
}
template <class T>
HD Factors<T> multiplier_of_product(T p, T q, T p0, T q0, Product product) {
  Factors<T> m{};
  product_multiplier(p, q, p0, q0, product, m.gate, m.signal);
  return m;
}

// What a stabiliser keeps and what is dropped, added up over the sums and products of a step.
template <class T>
struct Withheld {
  T stabilizer, dropped;
};

// product_relevance, its dropped relevance added to what the step keeps.
template <class T>
HD void split_product(T R, T p, T q, Gate gate, T& R_p, T& R_q, Withheld<T>& kept) {
  T dropped;
  product_relevance(R, p, q, gate, R_p, R_q, dropped);
  kept.dropped = kept.dropped + dropped;
}

// R / σ_ε(z) of a sum of states z by Norm, which each part multiplies: ε is the one that acts.
template <class T>
HD T split_sum(T R, T z, T e, Stabilizer stabilizer, Withheld<T>& kept) {
  T by_stabilizer, dropped;
  withheld(R, z, e, stabilizer, by_stabilizer, dropped);
  kept.stabilizer = kept.stabilizer + by_stabilizer;
  kept.dropped = kept.dropped + dropped;
  return share(R, z, e, stabilizer);
}

// ── LSTM ──

// i, f, o = σ(z_i, z_f, z_o)   g = tanh(z_g)   c = f c₋ + i g   h = o tanh(c)        [hochreiter1997], [gers2000]
template <class T>
struct LSTMUnit {
  T z_i, z_f, z_g, z_o;
  T i, f, g, o;
  T c_prev, c;
};

// A unit of a step that was taken.
template <class T>
HD LSTMUnit<T> lstm_unit(T z_i, T z_f, T z_g, T z_o, T c_prev, T c) {
  return {z_i, z_f, z_g, z_o, sigmoid(z_i), sigmoid(z_f), tanh(z_g), sigmoid(z_o), c_prev, c};
}

// The step itself: returns h and leaves c in u.
template <class T>
HD T lstm_step(LSTMUnit<T>& u) {
  u.c = u.f * u.c_prev + u.i * u.g;
  return u.o * tanh(u.c);
}

// What arrives at h, c; then at the four z and at c₋.
template <class T>
struct LSTMSignal {
  T h, c;
  T z_i, z_f, z_g, z_o, c_prev;
};

// One step of the modified chain rule, backwards; slopes stand for σ′ and tanh′, factors for the products
// o tanh(c), f c₋, i g:
//
//   S_c += S_h m_tanh slope_c      S_zi = S_c m_i slope_i   S_zf, S_zg likewise   S_zo = S_h m_o slope_o
//   S_c₋ = S_c m_c₋
template <class T>
struct LSTMSlopes {
  T i, f, g, o, c;
};

template <class T>
HD void lstm_chain(const LSTMSlopes<T>& slope, const Factors<T>& at_h, const Factors<T>& at_fc, const Factors<T>& at_ig,
                   LSTMSignal<T>& s) {
  const T c = s.c + s.h * at_h.signal * slope.c;
  s.z_i = c * at_ig.gate * slope.i;
  s.z_f = c * at_fc.gate * slope.f;
  s.z_g = c * at_ig.signal * slope.g;
  s.z_o = s.h * at_h.gate * slope.o;
  s.c_prev = c * at_fc.signal;
}

template <class T>
HD void lstm_gradient(const LSTMUnit<T>& u, LSTMSignal<T>& s) {
  const Sigmoid<T> gate{};
  const Tanh<T> squash{};
  lstm_chain(LSTMSlopes<T>{gate.derivative(u.z_i), gate.derivative(u.z_f), squash.derivative(u.z_g), gate.derivative(u.z_o),
                           squash.derivative(u.c)},
             gradient_of_product(u.o, squash.value(u.c)), gradient_of_product(u.f, u.c_prev), gradient_of_product(u.i, u.g), s);
}

// u0: the unit at the baseline.
template <class T>
HD void lstm_multiplier(const LSTMUnit<T>& u, const LSTMUnit<T>& u0, Product product, LSTMSignal<T>& s) {
  const Sigmoid<T> gate{};
  const Tanh<T> squash{};
  lstm_chain(LSTMSlopes<T>{gate.quotient(u.z_i, u0.z_i), gate.quotient(u.z_f, u0.z_f), squash.quotient(u.z_g, u0.z_g),
                           gate.quotient(u.z_o, u0.z_o), squash.quotient(u.c, u0.c)},
             multiplier_of_product(u.o, squash.value(u.c), u0.o, squash.value(u0.c), product),
             multiplier_of_product(u.f, u.c_prev, u0.f, u0.c_prev, product),
             multiplier_of_product(u.i, u.g, u0.i, u0.g, product), s);
}

// dc = df c₋ + f dc₋ + di g + i dg      dh = do tanh(c) + o tanh′(c) dc;  d holds the changes of the z and, as c, dc₋.
// Returns dh and leaves dc in d.c.
template <class T>
HD T lstm_tangent(const LSTMUnit<T>& u, LSTMSignal<T>& d) {
  const Sigmoid<T> gate{};
  const Tanh<T> squash{};
  const T di = gate.derivative(u.z_i) * d.z_i, df = gate.derivative(u.z_f) * d.z_f;
  const T dg = squash.derivative(u.z_g) * d.z_g, d_o = gate.derivative(u.z_o) * d.z_o;
  d.c = df * u.c_prev + u.f * d.c + di * u.g + u.i * dg;
  return d_o * squash.value(u.c) + u.o * squash.derivative(u.c) * d.c;
}

// R_h over o tanh(c), the rest joining R_c; R_c over f c₋ + i g by Norm, each over its factors; σ and tanh hand on
// what arrives. e: the ε that acts on c.  [arras2017], [arras2019] sec. 11.3
template <class T>
HD void lstm_relevance(const LSTMUnit<T>& u, Gate gate, T e, Stabilizer stabilizer, LSTMSignal<T>& R, Withheld<T>& kept) {
  T R_tanh;
  split_product(R.h, u.o, tanh(u.c), gate, R.z_o, R_tanh, kept);
  const T s = split_sum(R.c + R_tanh, u.c, e, stabilizer, kept);
  split_product(u.f * u.c_prev * s, u.f, u.c_prev, gate, R.z_f, R.c_prev, kept);
  split_product(u.i * u.g * s, u.i, u.g, gate, R.z_i, R.z_g, kept);
}

// ── GRU ──

// r, u = σ(z_r, z_u)   n = tanh(z_n)   h = (1 - u) n + u h₋        [cho2014] eq. (5)-(8)
// q is what r multiplies: h₋, or with linear_before_reset h₋ w_hn + b_n.
template <class T>
struct GRUUnit {
  T z_r, z_u, z_n;
  T r, u, n;
  T q, h_prev, h;
};

// s = r q, and the gate of the product (1 - u) n.
template <class T>
HD T gru_s(T r, T q) {
  return r * q;
}
template <class T>
HD T gru_p(T u) {
  return 1 - u;
}

// z_r is known; afterwards s, which z_n waits for.
template <class T>
HD T gru_reset(GRUUnit<T>& u) {
  u.r = sigmoid(u.z_r);
  return gru_s(u.r, u.q);
}

// The rest of the step, z_u and z_n being known.
template <class T>
HD void gru_step(GRUUnit<T>& u) {
  u.u = sigmoid(u.z_u);
  u.n = tanh(u.z_n);
  u.h = gru_p(u.u) * u.n + u.u * u.h_prev;
}

// What stands for σ′ and tanh′ at r u n, and for the products (1 - u) n, u h₋, r q.
template <class T>
struct GRUChain {
  T slope_r, slope_u, slope_n;
  Factors<T> at_n, at_h, at_q;
};

template <class T>
HD GRUChain<T> gru_gradient(const GRUUnit<T>& u) {
  const Sigmoid<T> gate{};
  return {gate.derivative(u.z_r), gate.derivative(u.z_u), Tanh<T>{}.derivative(u.z_n),
          gradient_of_product(gru_p(u.u), u.n), gradient_of_product(u.u, u.h_prev), gradient_of_product(u.r, u.q)};
}

// u0: the unit at the baseline.
template <class T>
HD GRUChain<T> gru_multiplier(const GRUUnit<T>& u, const GRUUnit<T>& u0, Product product) {
  const Sigmoid<T> gate{};
  return {gate.quotient(u.z_r, u0.z_r), gate.quotient(u.z_u, u0.z_u), Tanh<T>{}.quotient(u.z_n, u0.z_n),
          multiplier_of_product(gru_p(u.u), u.n, gru_p(u0.u), u0.n, product),
          multiplier_of_product(u.u, u.h_prev, u0.u, u0.h_prev, product),
          multiplier_of_product(u.r, u.q, u0.r, u0.q, product)};
}

// One step of the modified chain rule, backwards, in two parts: before and after the signal S_s at s = r q is known.
//
//   S_zn = S_h m_n slope_n      S_zu = S_h (m_u - m_(1-u)) slope_u      to h₋ at once: S_h m_h
//   S_zr = S_s m_r slope_r      S_q = S_s m_q
template <class T>
HD void gru_chain(const GRUChain<T>& chain, T S_h, T& S_zn, T& S_zu, T& S_prev) {
  S_zn = S_h * chain.at_n.signal * chain.slope_n;
  S_zu = S_h * (chain.at_h.gate - chain.at_n.gate) * chain.slope_u;
  S_prev = S_h * chain.at_h.signal;
}
template <class T>
HD void gru_chain_reset(const GRUChain<T>& chain, T S_s, T& S_zr, T& S_q) {
  S_zr = S_s * chain.at_q.gate * chain.slope_r;
  S_q = S_s * chain.at_q.signal;
}

// ds = dr q + r dq, then dh = (1 - u) dn + du (h₋ - n) + u dh₋
template <class T>
HD T gru_tangent_reset(const GRUUnit<T>& u, T dz_r, T dq) {
  return Sigmoid<T>{}.derivative(u.z_r) * dz_r * u.q + u.r * dq;
}
template <class T>
HD T gru_tangent(const GRUUnit<T>& u, T dz_u, T dz_n, T dh_prev) {
  const T du = Sigmoid<T>{}.derivative(u.z_u) * dz_u, dn = Tanh<T>{}.derivative(u.z_n) * dz_n;
  return gru_p(u.u) * dn + du * (u.h_prev - u.n) + u.u * dh_prev;
}

// R_h over (1 - u) n + u h₋ by Norm, each over its factors; what reaches 1 - u goes on to -u, and the constant 1 keeps
// `by_one`. e_h, e_p: the ε that act on h and on 1 - u.  The conventions of [arras2017], [arras2019].
template <class T>
HD void gru_relevance(const GRUUnit<T>& u, Gate gate, T e_h, T e_p, Stabilizer stabilizer, T R_h, T& R_n, T& R_u, T& R_prev,
                      T& by_one, Withheld<T>& kept) {
  T R_p;
  const T p = gru_p(u.u), s = split_sum(R_h, u.h, e_h, stabilizer, kept);
  split_product(p * u.n * s, p, u.n, gate, R_p, R_n, kept);
  split_product(u.u * u.h_prev * s, u.u, u.h_prev, gate, R_u, R_prev, kept);
  by_one = split_sum(R_p, p, e_p, stabilizer, kept);
  R_u = R_u - u.u * by_one;
}

}  // namespace relprop::math
