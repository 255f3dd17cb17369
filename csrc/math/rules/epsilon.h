// r_i = Σ_o x_i w_io / σ_ε(z_o) · R_o          z_o = Σ_i x_i w_io + b_o
// [bach2015] eq. (58).  Mirrors pyref/rules/epsilon.py.
#pragma once

#include "rule.h"

namespace relprop::math {

template <class T>
struct Epsilon : Parts<Epsilon<T>, T> {
  static constexpr const char* name = "epsilon";
  static constexpr int max_parts = 4;
  static constexpr int fewest_sums = 0, most_sums = 2;
  static constexpr int denominators = 1;

  T epsilon;
  Bias bias;
  Stabilizer stabilizer;
  bool absorb_epsilon;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("epsilon", self.epsilon);
    visit("bias", self.bias);
    visit("stabilizer", self.stabilizer);
    visit("absorb_epsilon", self.absorb_epsilon);
  }

  // Part 0 is the sum itself. The options that hand the bias to the inputs add: the bias alone (no
  // inputs), the count of connected inputs, and for proportional the absolute sum.
  HD int parts() const { return bias == Bias::uniform ? 3 : bias == Bias::proportional ? 4 : 1; }
  HD int plain_part() const { return bias == Bias::ignore ? -1 : 0; }
  HD Part part(int p) const {
    const Factor of_bias = bias == Bias::ignore ? Factor::none : Factor::plain;
    if (p == 0) return {Factor::plain, Factor::plain, of_bias};
    if (p == 1) return {Factor::none, Factor::none, of_bias};
    return p == 2 ? Part{Factor::one, Factor::one, Factor::none} : Part{Factor::abs, Factor::abs, Factor::none};
  }

  HD T denominator(int, const T* z) const { return z[0]; }

  // Without branches, so that a loop becomes vector code: what the other options hand on is 0 / 0 or unread.
  HD void split(T R, const T* z, const T* e, T* s) const {
    const T b = z[1], count = z[2], absolute = z[3];
    const bool by_size = bias == Bias::proportional && absolute != 0;
    s[0] = share(R, z[0], e[0], stabilizer);
    s[1] = count == 0 ? T(0) : -s[0];  // a unit without inputs keeps its bias
    const T evenly = safe_divide(s[0] * (absorb_epsilon ? b + epsilon * sign(z[0]) : b), count);
    s[2] = by_size ? T(0) : evenly;
    s[3] = safe_divide(s[0] * b, absolute);
  }

  HD void kept(T R, const T* z, const T* e, T& by_stabilizer, T& dropped) const {
    withheld(R, z[0], e[0], stabilizer, by_stabilizer, dropped);
    if (absorb_epsilon && z[2] != 0) by_stabilizer = T(0);
  }

  template <class Schedule>
  void lower(const Known&, Schedule&& run) const;
};

// The same where the bias is not handed to the inputs: one part and nothing else.
template <class T>
struct EpsilonAlone : Epsilon<T> {
  static constexpr int max_parts = 1;
  static constexpr int fewest_sums = 0, most_sums = 1;

  HD int parts() const { return 1; }
  HD void split(T R, const T* z, const T* e, T* s) const { s[0] = share(R, z[0], e[0], this->stabilizer); }
  HD void kept(T R, const T* z, const T* e, T& by_stabilizer, T& dropped) const {
    withheld(R, z[0], e[0], this->stabilizer, by_stabilizer, dropped);
  }
};

template <class T>
template <class Schedule>
void Epsilon<T>::lower(const Known&, Schedule&& run) const {
  if (parts() == 1)
    run(EpsilonAlone<T>{*this});
  else
    run(*this);
}

}  // namespace relprop::math
