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
//   denominators           how many numbers it divides by; denominator(k, z) is the k-th
//   plain_part()           the part whose z is the pre-activation itself, or -1
//   has_input(p)           false for a part without inputs: its input and weight are 0
//   split, kept            e[k] is the ε that acts on denominator k (numerics.h: acting_epsilon)
#pragma once

#include "../numerics.h"

namespace relprop::math {

enum class Bias { neuron, ignore, uniform, proportional };
constexpr std::array<const char*, 4> words(Bias) { return {"neuron", "ignore", "uniform", "proportional"}; }

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
