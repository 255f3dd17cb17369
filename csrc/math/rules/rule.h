// What a rule is, on scalars: four functions over a few parts. Mirrors pyref/rules/rule.py.
//
//   z_p = Σ_i input_part(p, x_i) · weight_part(p, w_io) + bias_part(p, b_o)
//   s   = split(R_o, z, e)                                      one share per part
//   r_i = Σ_p input_part(p, x_i) · Σ_o weight_part(p, w_io) · s_p,o
//
// A rule is a struct template over the scalar type T with
//
//   name, fields()         the words of pyref's dataclass, in its order
//   max_parts, parts()     most parts over all options; parts under these options
//   part(p)                what part p makes of an input, a weight and a bias
//   fewest_sums, most_sums how many sums over inputs its shares need, those that are known or the same for all samples
//                          left out
//   denominators           how many numbers it divides by; denominator(k, z) is the k-th
//   plain_part()           the part whose z is the pre-activation itself, or -1
//   split, kept            e[k] is the ε that acts on denominator k (numerics.h: acting_epsilon)
//
// A lowering has the same members, and is what schedules run. It may have other parts than its rule: some
// that are summed but carry nothing back, some that carry back but are not summed. lower() hands the
// cheapest lowering for what is known to a function; by default that is the rule itself.
#pragma once

#include "../numerics.h"

namespace relprop::math {

enum class Bias { neuron, ignore, uniform, proportional };
constexpr std::array<const char*, 4> words(Bias) { return {"neuron", "ignore", "uniform", "proportional"}; }

// What a part makes of a value: v⁺ (pos), v⁻ (neg), |v|, v², v + γ v⁺ (raised), 1, 0 (none); of an input
// also its distance from the bounds of a box (rules/z_box.h).
enum class Factor { none, one, plain, pos, neg, abs, square, raised, above_low, below_high };

struct Part {
  Factor input, weight, bias;
  bool is_summed = true;   // z_p is needed
  bool is_carried = true;  // s_p goes back through it
};

// What a schedule knows of its data when it asks for a lowering.
struct Known {
  bool nonnegative;            // every input is ≥ 0
  bool z = false, b = false;  // there are a pre-activation, which holds the bias, and a bias
};

template <class T>
HD T apply(Factor factor, T v, T gamma = T(0)) {
  switch (factor) {
    case Factor::one: return T(1);
    case Factor::plain: return v;
    case Factor::pos: return pos(v);
    case Factor::neg: return neg(v);
    case Factor::abs: return std::fabs(v);
    case Factor::square: return v * v;
    case Factor::raised: return v + gamma * pos(v);
    default: return T(0);
  }
}

// The functions that follow from part(p).
template <class Rule, class T>
struct Parts {
  HD bool has_input(int p) const { return part(p).input != Factor::none; }
  HD T input_part(int p, T x) const { return apply(part(p).input, x); }
  HD T weight_part(int p, T w) const { return apply(part(p).weight, w); }
  HD T bias_part(int p, T b) const { return apply(part(p).bias, b); }

  // True in a lowering that has is_accurate(z), to be asked of every unit that has relevance, and otherwise() for where
  // it is not. The question looks at the first `judged` parts of z. is_wasted: otherwise() has no use for those but the
  // pre-activation.
  static constexpr bool is_guarded = false, is_wasted = false;

  template <class Schedule>
  void lower(const Known&, Schedule&& run) const {
    run(static_cast<const Rule&>(*this));
  }

 private:
  HD Part part(int p) const { return static_cast<const Rule*>(this)->part(p); }
};

// What a lowering comes to where no guard can be asked, or none says yes.
template <class Rule>
auto unguarded(const Rule& rule) {
  if constexpr (Rule::is_guarded)
    return unguarded(rule.otherwise());
  else
    return rule;
}

// R / σ_ε(z), and 0 where that is 0 / 0.
template <class T>
HD T share(T R, T z, T e, Stabilizer stabilizer) {
  return safe_divide(R, stabilize(z, e, stabilizer));
}

// What `share` does not hand on: R (σ_ε(z) - z) / σ_ε(z) to the stabiliser, R dropped where σ_ε(z) = 0.
template <class T>
HD void withheld(T R, T z, T e, Stabilizer stabilizer, T& by_stabilizer, T& dropped) {
  const T denominator = stabilize(z, e, stabilizer);
  by_stabilizer = safe_divide(R * stabilizer_excess(z, e, stabilizer), denominator);
  dropped = denominator == 0 ? R : T(0);
}

}  // namespace relprop::math
