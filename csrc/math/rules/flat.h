// r_i = Σ_o 1 / σ_ε(n_o) · R_o            n_o: the number of inputs connected to o
// [lapuschkin2019], suppl. note 1.  Mirrors pyref/rules/flat.py.
#pragma once

#include "rule.h"

namespace relprop::math {

template <class T>
struct Flat : Parts<Flat<T>, T> {
  static constexpr const char* name = "flat";
  static constexpr int max_parts = 1;
  static constexpr int fewest_sums = 0, most_sums = 0;
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
  HD Part part(int) const { return {Factor::one, Factor::one, Factor::none}; }

  HD T denominator(int, const T* z) const { return z[0]; }
  HD void split(T R, const T* z, const T* e, T* s) const { s[0] = share(R, z[0], e[0], stabilizer); }
  HD void kept(T R, const T* z, const T* e, T& by_stabilizer, T& dropped) const {
    withheld(R, z[0], e[0], stabilizer, by_stabilizer, dropped);
  }
};

}  // namespace relprop::math
