// r_i = Σ_o ( (x_i - low_i) w_io⁺ + (x_i - high_i) w_io⁻ ) / σ_ε(D_o) · R_o
// [montavon2017] eq. (7), rearranged.  Mirrors pyref/rules/z_box.py.
#pragma once

#include "rule.h"

namespace relprop::math {

enum class OutOfRange { raise, clip };
constexpr std::array<const char*, 2> words(OutOfRange) { return {"raise", "clip"}; }

// low and high are the bounds of the element at hand; a schedule with bounds per element sets them.
// Refusing what lies outside is the door's business: a scalar function cannot raise on a device.
template <class T>
struct ZBox : Parts<ZBox<T>, T> {
  static constexpr const char* name = "z_box";
  static constexpr int max_parts = 2;
  static constexpr int fewest_sums = 2, most_sums = 2;
  static constexpr int denominators = 1;

  T low;
  T high;
  T epsilon;
  Stabilizer stabilizer;
  OutOfRange out_of_range;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("low", self.low);
    visit("high", self.high);
    visit("epsilon", self.epsilon);
    visit("stabilizer", self.stabilizer);
    visit("out_of_range", self.out_of_range);
  }

  // (x - low) w⁺ and (x - high) w⁻
  HD int parts() const { return 2; }
  HD int plain_part() const { return -1; }
  HD Part part(int p) const {
    return {p == 0 ? Factor::above_low : Factor::below_high, p == 0 ? Factor::pos : Factor::neg, Factor::none};
  }

  HD T input_part(int p, T x) const {
    const T inside = out_of_range == OutOfRange::raise ? x : x < low ? low : x > high ? high : x;
    return inside - (p == 0 ? low : high);
  }

  HD T denominator(int, const T* z) const { return z[0] + z[1]; }
  HD void split(T R, const T* z, const T* e, T* s) const { s[0] = s[1] = share(R, denominator(0, z), e[0], stabilizer); }
  HD void kept(T R, const T* z, const T* e, T& by_stabilizer, T& dropped) const {
    withheld(R, denominator(0, z), e[0], stabilizer, by_stabilizer, dropped);
  }
};

}  // namespace relprop::math
