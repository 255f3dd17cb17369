// r_i = Σ_o w_io² / σ_ε(Σ_i' w_i'o²) · R_o
// [montavon2017] eq. (5).  Mirrors pyref/rules/w_square.py.
#pragma once

#include "rule.h"

namespace relprop::math {

template <class T>
struct WSquare {
  static constexpr const char* name = "w_square";
  static constexpr int max_parts = 1;
  static constexpr int denominators = 1;

  T epsilon;
  Stabilizer stabilizer;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("epsilon", self.epsilon);
    visit("stabilizer", self.stabilizer);
  }

  HD int parts() const { return 1; }
  HD int plain_part() const { return -1; }
  HD bool has_input(int) const { return true; }

  HD T input_part(int, T) const { return T(1); }
  HD T weight_part(int, T w) const { return w * w; }
  HD T bias_part(int, T) const { return T(0); }

  HD T denominator(int, const T* z) const { return z[0]; }
  HD void split(T R, const T* z, const T* e, T* s) const { s[0] = share(R, z[0], e[0], stabilizer); }
  HD void kept(T R, const T* z, const T* e, T& by_stabilizer, T& dropped) const {
    withheld(R, z[0], e[0], stabilizer, by_stabilizer, dropped);
  }
};

}  // namespace relprop::math
