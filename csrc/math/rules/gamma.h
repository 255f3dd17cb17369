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
    s[0] = up || down ? all : T(0);
    s[1] = s[2] = up ? gamma * all : T(0);
    s[3] = s[4] = down ? gamma * all : T(0);
  }

  HD void kept(T R, const T* z, const T* e, T& by_stabilizer, T& dropped) const {
    withheld(R, denominator(0, z), e[0], stabilizer, by_stabilizer, dropped);
    if (by_weight() || z[0] > 0 || z[0] < 0) return;
    by_stabilizer = T(0);
    dropped = R;
  }
};

}  // namespace relprop::math
