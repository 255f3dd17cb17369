// signed:  r_i = Σ_o z_io / σ_ε(z_o) · R_o          abs:  r_i = Σ_o |z_io| / σ_ε(Σ_i' |z_i'o|) · R_o
// [bach2015] eq. (58) with implicit weights.  Mirrors pyref/rules/norm.py.
#pragma once

#include "rule.h"

namespace relprop::math {

enum class NormMode { signed_, abs };
constexpr std::array<const char*, 2> words(NormMode) { return {"signed", "abs"}; }

template <class T>
struct Norm : Parts<Norm<T>, T> {
  static constexpr const char* name = "norm";
  static constexpr int max_parts = 1;
  static constexpr int fewest_sums = 0, most_sums = 1;
  static constexpr int denominators = 1;

  T epsilon;
  NormMode mode;
  Stabilizer stabilizer;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("epsilon", self.epsilon);
    visit("mode", self.mode);
    visit("stabilizer", self.stabilizer);
  }

  HD int parts() const { return 1; }
  HD int plain_part() const { return mode == NormMode::signed_ ? 0 : -1; }
  HD Part part(int) const {
    const Factor size = mode == NormMode::abs ? Factor::abs : Factor::plain;
    return {size, size, size};
  }

  HD T denominator(int, const T* z) const { return z[0]; }
  HD void split(T R, const T* z, const T* e, T* s) const { s[0] = share(R, z[0], e[0], stabilizer); }
  HD void kept(T R, const T* z, const T* e, T& by_stabilizer, T& dropped) const {
    withheld(R, z[0], e[0], stabilizer, by_stabilizer, dropped);
  }
};

}  // namespace relprop::math
