// generalised:  r_i = Σ_o q_io / σ_ε(D_o) · R_o,  q_io = z_io + γ z_io⁺ where z_o > 0, z_io + γ z_io⁻ where z_o < 0
// weight:       r_i = Σ_o x_i (w_io + γ w_io⁺) / σ_ε(D_o) · R_o
// [montavon2019] sec. 10.2.3, [andeol2021].  Mirrors pyref/rules/gamma.py.
#pragma once

#include "rule.h"

namespace relprop::math {

enum class GammaForm { generalised, weight };
constexpr std::array<const char*, 2> words(GammaForm) { return {"generalised", "weight"}; }

template <class T>
struct Gamma : Parts<Gamma<T>, T> {
  static constexpr const char* name = "gamma";
  static constexpr int max_parts = 5;
  static constexpr int fewest_sums = 4, most_sums = 5;
  static constexpr int denominators = 1;

  T gamma;
  T epsilon;
  Bias bias;
  Stabilizer stabilizer;
  GammaForm form;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("gamma", self.gamma);
    visit("epsilon", self.epsilon);
    visit("bias", self.bias);
    visit("stabilizer", self.stabilizer);
    visit("form", self.form);
  }

  // generalised: z; x⁺w⁺, x⁻w⁻ (positive contributions); x⁺w⁻, x⁻w⁺ (negative ones).  weight: xw, xw⁺.
  HD bool by_weight() const { return form == GammaForm::weight; }
  HD int parts() const { return by_weight() ? 2 : 5; }
  HD int plain_part() const { return bias == Bias::ignore ? -1 : 0; }
  HD Part part(int p) const {
    const Factor weight = p == 0 ? Factor::plain : by_weight() || p == 1 || p == 4 ? Factor::pos : Factor::neg;
    const Factor input = by_weight() || p == 0 ? Factor::plain : p == 1 || p == 3 ? Factor::pos : Factor::neg;
    return {input, weight, bias == Bias::ignore || p == 2 || p == 4 ? Factor::none : weight};
  }

  HD T denominator(int, const T* z) const {
    if (by_weight()) return z[0] + gamma * z[1];
    const T agreeing = z[0] > 0 ? z[1] + z[2] : z[0] < 0 ? z[3] + z[4] : T(0);
    return z[0] + gamma * agreeing;
  }

  HD void split(T R, const T* z, const T* e, T* s) const {
    const T all = share(R, denominator(0, z), e[0], stabilizer);
    if (by_weight()) {
      s[0] = all;
      s[1] = gamma * all;
      return;
    }
    const bool up = z[0] > 0, down = z[0] < 0;
    s[0] = z[0] == 0 ? T(0) : all;
    s[1] = s[2] = up ? gamma * all : T(0);
    s[3] = s[4] = down ? gamma * all : T(0);
  }

  HD void kept(T R, const T* z, const T* e, T& by_stabilizer, T& dropped) const {
    withheld(R, denominator(0, z), e[0], stabilizer, by_stabilizer, dropped);
    if (by_weight() || z[0] != 0) return;
    by_stabilizer = T(0);
    dropped = R;
  }

  template <class Schedule>
  void lower(const Known& known, Schedule&& run) const;
};

// form="weight" with w + γ w⁺ formed once, instead of sums over w and over w⁺.
template <class T>
struct GammaRaised : Gamma<T> {
  static constexpr int max_parts = 1;
  static constexpr int fewest_sums = 1, most_sums = 1;

  HD int parts() const { return 1; }
  HD Part part(int) const {
    return {Factor::plain, Factor::raised, this->bias == Bias::ignore ? Factor::none : Factor::raised};
  }
  HD T denominator(int, const T* z) const { return z[0]; }
  HD void split(T R, const T* z, const T* e, T* s) const { s[0] = share(R, z[0], e[0], this->stabilizer); }
  HD void kept(T R, const T* z, const T* e, T& by_stabilizer, T& dropped) const {
    withheld(R, z[0], e[0], this->stabilizer, by_stabilizer, dropped);
  }
};

// form="generalised" from two sums, z and A = Σ_i |x_i w_io| + |b_o|. With t the sign of z_o and u = R / σ_ε(D),
//   D = z + γ (z + t A) / 2,   q_io u = (1 + γ/2) u · x_i w_io + (γ/2) t u · |x_i w_io|.
// z and t A have one sign, so nothing cancels in D. What goes back does cancel for contributions against the sign:
// 1 + γ/2 - γ/2 is 1 up to γ roundings.
template <class T>
struct GammaBySize : Gamma<T> {
  static constexpr int max_parts = 2;
  static constexpr int fewest_sums = 1, most_sums = 2;

  HD int parts() const { return 2; }
  HD Part part(int p) const {
    const Factor factor = p == 0 ? Factor::plain : Factor::abs;
    return {factor, factor, this->bias == Bias::ignore ? Factor::none : factor};
  }
  HD T denominator(int, const T* z) const { return z[0] + this->gamma / 2 * (z[0] + agreeing(z) * z[1]); }
  HD void split(T R, const T* z, const T* e, T* s) const {
    const T t = agreeing(z), u = z[0] == 0 ? T(0) : share(R, denominator(0, z), e[0], this->stabilizer);
    s[0] = (1 + this->gamma / 2) * u;
    s[1] = this->gamma / 2 * t * u;
  }
  HD void kept(T R, const T* z, const T* e, T& by_stabilizer, T& dropped) const {
    withheld(R, denominator(0, z), e[0], this->stabilizer, by_stabilizer, dropped);
    if (z[0] != 0) return;
    by_stabilizer = T(0);
    dropped = R;
  }
  // The sign of z, 0 where the unit has none. NaN has none, and D carries it on.
  HD T agreeing(const T* z) const { return z[0] > 0 ? T(1) : z[0] < 0 ? T(-1) : T(0); }
};

// The same sums; back through the four parts by sign, of which two are left where x ≥ 0. Nothing cancels.
template <class T>
struct GammaBySign : GammaBySize<T> {
  static constexpr int max_parts = 6;
  static constexpr int fewest_sums = 1, most_sums = 2;

  HD int parts() const { return 6; }
  HD Part part(int p) const {
    if (p < 2) {
      Part sum = GammaBySize<T>::part(p);
      sum.is_carried = false;
      return sum;
    }
    const Factor input = p == 2 || p == 4 ? Factor::pos : Factor::neg, weight = p == 2 || p == 5 ? Factor::pos : Factor::neg;
    return {input, weight, this->bias == Bias::ignore || input == Factor::neg ? Factor::none : weight, false, true};
  }
  HD void split(T R, const T* z, const T* e, T* s) const {
    const T t = this->agreeing(z), u = z[0] == 0 ? T(0) : share(R, this->denominator(0, z), e[0], this->stabilizer);
    s[0] = s[1] = T(0);
    s[2] = s[3] = t > 0 ? (1 + this->gamma) * u : u;
    s[4] = s[5] = t > 0 ? u : (1 + this->gamma) * u;
  }
};

// form="generalised" where every x ≥ 0 and relevance arrives only where z > 0, as it does where a ReLU is the one that
// reads z: contributions then have the signs of the weights, and only those that agree with z > 0 are raised, which is
// form="weight". The mean square of rms would be taken over units without relevance too.
template <class T>
struct GammaWhereActive : GammaRaised<T> {
  static constexpr int max_parts = 2;
  static constexpr int fewest_sums = 1, most_sums = 2;
  static constexpr bool is_guarded = true;
  static constexpr int judged = 1;

  HD int parts() const { return 2; }
  HD Part part(int p) const {
    if (p == 1) return GammaRaised<T>::part(0);
    return {Factor::plain, Factor::plain, this->bias == Bias::ignore ? Factor::none : Factor::plain, true, false};
  }
  HD bool is_accurate(const T* z) const { return z[0] > 0; }
  GammaBySign<T> otherwise() const { return {{*this}}; }

  HD T denominator(int k, const T* z) const { return GammaRaised<T>::denominator(k, z + 1); }
  HD void split(T R, const T* z, const T* e, T* s) const {
    s[0] = T(0);
    GammaRaised<T>::split(R, z + 1, e, s + 1);
  }
  HD void kept(T R, const T* z, const T* e, T& by_stabilizer, T& dropped) const {
    GammaRaised<T>::kept(R, z + 1, e, by_stabilizer, dropped);
  }
};

template <class T>
template <class Schedule>
void Gamma<T>::lower(const Known& known, Schedule&& run) const {
  if (by_weight())
    run(GammaRaised<T>{*this});
  else if (known.nonnegative && stabilizer != Stabilizer::rms)
    run(GammaWhereActive<T>{{*this}});
  else if (known.nonnegative || gamma > 1)
    run(GammaBySign<T>{{*this}});
  else
    run(GammaBySize<T>{*this});
}

}  // namespace relprop::math
