// r_i = Σ_o z_io⁺ / σ_ε(z_o⁺) · R_o          z_o⁺ = Σ_i (x_i w_io)⁺ + b_o⁺
// [montavon2017] eq. (6).  Mirrors pyref/rules/z_plus.py.
#pragma once

#include "rule.h"

namespace relprop::math {

template <class T>
struct ZPlus : Parts<ZPlus<T>, T> {
  static constexpr const char* name = "z_plus";
  static constexpr int max_parts = 2;
  static constexpr int fewest_sums = 2, most_sums = 2;
  static constexpr int denominators = 1;

  T epsilon;
  Bias bias;
  Stabilizer stabilizer;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("epsilon", self.epsilon);
    visit("bias", self.bias);
    visit("stabilizer", self.stabilizer);
  }

  // x⁺w⁺ and x⁻w⁻
  HD int parts() const { return 2; }
  HD int plain_part() const { return -1; }
  HD Part part(int p) const {
    const Factor sign = p == 0 ? Factor::pos : Factor::neg;
    return {sign, sign, p == 0 && bias == Bias::neuron ? Factor::pos : Factor::none};
  }

  HD T denominator(int, const T* z) const { return z[0] + z[1]; }
  HD void split(T R, const T* z, const T* e, T* s) const { s[0] = s[1] = share(R, denominator(0, z), e[0], stabilizer); }
  HD void kept(T R, const T* z, const T* e, T& by_stabilizer, T& dropped) const {
    withheld(R, denominator(0, z), e[0], stabilizer, by_stabilizer, dropped);
  }
};

}  // namespace relprop::math
