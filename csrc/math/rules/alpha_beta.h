// r_i = Σ_o ( α z_io⁺ / σ_ε(z_o⁺) - β z_io⁻ / σ_ε⁻(z_o⁻) ) · R_o          σ_ε⁻(z⁻) = -σ_ε(-z⁻),  α - β = 1
// [bach2015] eq. (60).  Mirrors pyref/rules/alpha_beta.py.
#pragma once

#include "rule.h"
#include "z_plus.h"

namespace relprop::math {

template <class T>
struct AlphaBeta : Parts<AlphaBeta<T>, T> {
  static constexpr const char* name = "alpha_beta";
  static constexpr int max_parts = 4;
  static constexpr int fewest_sums = 4, most_sums = 4;
  static constexpr int denominators = 2;

  T alpha;
  T beta;
  T epsilon;
  Bias bias;
  Stabilizer stabilizer;
  bool renormalize;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("alpha", self.alpha);
    visit("beta", self.beta);
    visit("epsilon", self.epsilon);
    visit("bias", self.bias);
    visit("stabilizer", self.stabilizer);
    visit("renormalize", self.renormalize);
  }

  // x⁺w⁺, x⁻w⁻ make z⁺;  x⁺w⁻, x⁻w⁺ make z⁻.
  HD int parts() const { return 4; }
  HD int plain_part() const { return -1; }
  HD Part part(int p) const {
    const bool with_bias = bias == Bias::neuron && (p == 0 || p == 2);
    return {p == 0 || p == 2 ? Factor::pos : Factor::neg, p == 0 || p == 3 ? Factor::pos : Factor::neg,
            !with_bias ? Factor::none : p == 0 ? Factor::pos : Factor::neg};
  }

  // z⁺ and -z⁻, both ≥ 0.
  HD T denominator(int k, const T* z) const { return k == 0 ? z[0] + z[1] : -(z[2] + z[3]); }

  // (α, β) of a unit, and whether it drops its relevance.
  HD bool factors(T z_pos, T z_neg, T& a, T& b) const {
    a = alpha;
    b = beta;
    if (!renormalize) return false;
    const bool dead = z_pos == 0, alone = z_neg == 0;
    a = dead ? T(0) : alone ? T(1) : alpha;
    b = dead || alone ? T(0) : beta;
    return dead;
  }

  HD void split(T R, const T* z, const T* e, T* s) const {
    T a, b;
    factors(z[0] + z[1], z[2] + z[3], a, b);
    s[0] = s[1] = share(a * R, denominator(0, z), e[0], stabilizer);
    s[2] = s[3] = share(b * R, denominator(1, z), e[1], stabilizer);
  }

  HD void kept(T R, const T* z, const T* e, T& by_stabilizer, T& dropped) const {
    T a, b, stabilizer_pos, stabilizer_neg, dropped_pos, dropped_neg;
    const bool dead = factors(z[0] + z[1], z[2] + z[3], a, b);
    withheld(a * R, denominator(0, z), e[0], stabilizer, stabilizer_pos, dropped_pos);
    withheld(b * R, denominator(1, z), e[1], stabilizer, stabilizer_neg, dropped_neg);
    by_stabilizer = stabilizer_pos - stabilizer_neg;
    dropped = dead ? R : dropped_pos - dropped_neg;
  }

  template <class Schedule>
  void lower(const Known& known, Schedule&& run) const;
};

// From z and the sum of one sign, z⁺ = z - z⁻: a sum less than the four parts have. Only where -z⁻ is at most 3/2 of z⁺,
// so that z⁺ is had from numbers that are together no more than four times as large: always where z ≥ 0, as it is where
// relevance arrives behind a ReLU. Nothing is subtracted on the way back.
template <class T>
struct AlphaBetaByDifference : AlphaBeta<T> {
  static constexpr int max_parts = 5;
  static constexpr int fewest_sums = 2, most_sums = 2;
  static constexpr bool is_guarded = true;
  static constexpr int judged = 3;

  HD int parts() const { return 5; }
  HD Part part(int p) const {  // z; x⁺w⁻, x⁻w⁺; x⁺w⁺, x⁻w⁻
    if (p == 0) return {Factor::plain, Factor::plain, this->bias == Bias::ignore ? Factor::none : Factor::plain, true, false};
    Part part = AlphaBeta<T>::part(p < 3 ? p + 1 : p - 3);
    part.is_summed = p < 3;
    return part;
  }
  HD bool is_accurate(const T* z) const { return 2 * denominator(1, z) <= 3 * denominator(0, z); }
  const AlphaBeta<T>& otherwise() const { return *this; }

  HD T denominator(int k, const T* z) const {
    const T z_neg = z[1] + z[2];
    return k == 0 ? z[0] - z_neg : -z_neg;
  }
  HD void split(T R, const T* z, const T* e, T* s) const {
    const T of[4] = {denominator(0, z), T(0), z[1], z[2]};
    T by_sign[4];
    AlphaBeta<T>::split(R, of, e, by_sign);
    s[0] = T(0);
    s[1] = s[2] = by_sign[2];
    s[3] = s[4] = by_sign[0];
  }
  HD void kept(T R, const T* z, const T* e, T& by_stabilizer, T& dropped) const {
    const T of[4] = {denominator(0, z), T(0), z[1], z[2]};
    AlphaBeta<T>::kept(R, of, e, by_stabilizer, dropped);
  }
};

// From two sums, z and A = Σ_i |x_i w_io| + |b_o|:  z⁺ = (A + z) / 2, z⁻ = (z - A) / 2, and with the shares p and m
// of the two signs  r_i = x_i Σ_o w_io (p + m) / 2 + |x_i| Σ_o |w_io| (p - m) / 2.
// Only where z⁺ and -z⁻ are both at least A / 4: a smaller one would be rounded like A, and what p and m give to
// contributions of the other sign would not cancel.
template <class T>
struct AlphaBetaBySize : AlphaBeta<T> {
  static constexpr int max_parts = 2;
  static constexpr int fewest_sums = 1, most_sums = 2;
  static constexpr bool is_guarded = true, is_wasted = true;
  static constexpr int judged = 2;

  HD int parts() const { return 2; }
  HD Part part(int p) const {
    const Factor factor = p == 0 ? Factor::plain : Factor::abs;
    return {factor, factor, this->bias == Bias::ignore ? Factor::none : factor};
  }
  HD bool is_accurate(const T* z) const { return 2 * std::fabs(z[0]) <= z[1]; }
  AlphaBetaByDifference<T> otherwise() const { return {*this}; }

  HD T denominator(int k, const T* z) const { return (k == 0 ? z[1] + z[0] : z[1] - z[0]) / 2; }
  HD void split(T R, const T* z, const T* e, T* s) const {
    T a, b;
    this->factors(denominator(0, z), denominator(1, z), a, b);
    const T p = share(a * R, denominator(0, z), e[0], this->stabilizer), m = share(b * R, denominator(1, z), e[1], this->stabilizer);
    s[0] = (p + m) / 2;
    s[1] = (p - m) / 2;
  }
  HD void kept(T R, const T* z, const T* e, T& by_stabilizer, T& dropped) const {
    const T parts[4] = {denominator(0, z), T(0), -denominator(1, z), T(0)};
    AlphaBeta<T>::kept(R, parts, e, by_stabilizer, dropped);
  }
};

template <class T>
template <class Schedule>
void AlphaBeta<T>::lower(const Known& known, Schedule&& run) const {
  if (alpha == 1 && beta == 0 && !renormalize)
    run(ZPlus<T>{{}, epsilon, bias, stabilizer});
  else if (known.nonnegative && known.z && (bias != Bias::ignore || !known.b))
    run(AlphaBetaByDifference<T>{*this});
  else if (known.nonnegative)
    run(*this);
  else
    run(AlphaBetaBySize<T>{*this});
}

}  // namespace relprop::math
