// Elementwise activations a = f(z), on scalars. Mirrors pyref/layers/activation.py.
//
//   value f(z)      derivative f′(z)      quotient (f(z) - f(z0)) / (z - z0), f′(z) where z = z0
//   activation_ratio f(z) / σ_ε(z), f′(0) at 0 / 0
//
// An activation is a struct template over the scalar type T with
//
//   name, fields()      the words of pyref's dataclass, in its order
//   zero_at_zero()      whether f(0) = 0: elsewhere f(z) / z has a pole, which is the door's to refuse
//   value, derivative, quotient
//
// The quotients hold for every gap: no threshold, no cancellation. [shrikumar2017] eq. (7), [ancona2017] eq. (5).
#pragma once

#include "elementary.h"
#include "numerics.h"

namespace relprop::math {

// ── shared by the activations ──

// σ(z) = 1 / (1 + exp(-z)), without overflow and with full relative accuracy in both tails.
template <class T>
HD T sigmoid(T z) {
  const T e = exp(-std::fabs(z));
  return (z >= 0 ? T(1) : e) / (1 + e);
}

// σ(z) and σ(-z), from one exponential.
template <class T>
struct Sides {
  T up, down;

  HD explicit Sides(T z) {
    const T e = exp(-std::fabs(z)), total = 1 + e;
    up = (z >= 0 ? T(1) : e) / total;
    down = (z <= 0 ? T(1) : e) / total;
  }
};

// ϕ(d) = (1 - exp(-d)) / d for d ≥ 0, ϕ(0) = 1.
template <class T>
HD T phi(T d) {
  const T mean = -expm1(-d) / d;
  return d == 0 ? T(1) : mean;
}

// log(1 + exp(-|u|))
template <class T>
HD T log1p_exp(T u) {
  return log1p(exp(-std::fabs(u)));
}

// z within ±64, beyond which Gaussian tails have long vanished: no overflow in powers of z.
template <class T>
HD T bounded(T z) {
  return smaller(larger(z, T(-64)), T(64));
}

// exp(-z²/2), with the square split into a part of few bits and a rest: exp would magnify its rounding.
template <class T>
HD T bell(T z) {
  const T u = smaller(std::fabs(z), T(64)), head = floor(16 * u) / 16;
  return exp(-head * head / 2) * exp(-(u - head) * (u + head) / 2);
}

// Φ(z), the normal distribution function:
//
//   |z| < 3/4   ½ + z exp(-z²/2)/√(2π) · (1 + z²/3 + z⁴/(3·5) + …)
//   else        1 - Q(z), and Q(-z) below zero, where by the trapezoidal rule with step h = 5/8
//               Q(z) = z exp(-z²/2)/π · h (1/(2 z²) + Σ_n exp(-n² h²/2) / (n² h² + z²)) - 1 / (exp(2π z/h) - 1)
//
// [abramowitz1964] 26.2.11, 7.4.11; [hunter1972]
struct InverseOddFactorial {
  template <class T>
  HD static constexpr T at(int k) {
    double product = 1;
    for (int odd = 3; odd <= 2 * k + 1; odd += 2) product *= odd;
    return T(1 / product);
  }
};

template <class T>
HD constexpr T gaussian(int n) {  // exp(-n² h²/2)
  constexpr double table[] = {
      0.8225775623986646, 0.45783336177161427, 0.17242162389375282, 0.04393693362340742, 0.0075756774442599355,
      0.00088382630693505, 6.97695771959971e-05, 3.726653172078671e-06, 1.3468696888087105e-07, 3.293714110306081e-09,
      5.450043132884139e-11, 6.101936677605324e-13, 4.6226304054837065e-15, 2.369541747340176e-17, 8.21851355409674e-20,
  };
  return T(table[n - 1]);
}

template <class T, int n, int last>
HD T trapezoids(T square, T total) {
  constexpr T weight = gaussian<T>(n), node = T(n * n * 0.390625);
  total = total + weight / (node + square);
  if constexpr (n == last)
    return total;
  else
    return trapezoids<T, n + 1, last>(square, total);
}

template <class T>
HD T normal_cdf(T z) {
  constexpr int nodes = sizeof(T) == 4 ? 10 : 15, terms = sizeof(T) == 4 ? 6 : 12;
  constexpr T pi = T(3.1415926535897932), root_2pi = T(2.5066282746310002), step = T(0.625), change = T(0.75);
  const T around = bell(z), size = std::fabs(z);
  const T near = smaller(larger(z, -change), change), u = larger(smaller(size, T(64)), change);
  const T middle = T(0.5) + near * around * series<T, InverseOddFactorial, 0, terms>(near * near) / root_2pi;
  const T total = trapezoids<T, 1, nodes>(u * u, 1 / (2 * u * u));
  const T e = exp(-2 * pi / step * u), pole = e / (1 - e);
  const T tail = u * around * total * (step / pi) - (u < 2 * pi / step ? pole : T(0));
  const T outside = z > 0 ? 1 - tail : tail;
  return size < change ? middle : outside;
}

// f(z) / σ_ε(z), and f′(z) where σ_ε(z) = 0.
template <class F, class T>
HD T activation_ratio(const F& f, T z, T epsilon) {
  const T denominator = stabilize(z, epsilon, Stabilizer::add), limit = f.derivative(z), g = f.value(z) / denominator;
  return denominator == 0 ? limit : g;
}

// Kinks k_1 < … < k_m and slopes s_0 … s_m of a piecewise linear f.
template <class T, int m>
struct Pieces {
  T kink[m > 0 ? m : 1];
  T slope[m + 1];
};

// q = Σ_j s_j · (length of [lo, hi] in piece j) / (hi - lo)
template <class F, class T, int m>
HD T piecewise_quotient(const F& f, const Pieces<T, m>& pieces, T z, T z0) {
  const T hi = larger(z, z0), lo = smaller(z, z0), d = hi - lo;
  T q = 0;
  for (int j = 0; j <= m; ++j) {
    const T start = j == 0 ? lo : larger(lo, pieces.kink[j == 0 ? 0 : j - 1]);
    const T end = j == m ? hi : smaller(hi, pieces.kink[j == m ? 0 : j]);
    q = q + pieces.slope[j] * safe_divide(pos(end - start), d);
  }
  const T limit = f.derivative(z);
  return d == 0 ? limit : q;
}

// ── piecewise linear ──

template <class T>
struct ReLU {
  static constexpr const char* name = "relu";

  template <class Self, class Visit>
  static void fields(Self&, Visit&&) {}

  HD bool zero_at_zero() const { return true; }
  HD T value(T z) const { return pos(z); }
  HD T derivative(T z) const { return z > 0 ? T(1) : T(0); }
  HD T quotient(T z, T z0) const { return piecewise_quotient(*this, Pieces<T, 1>{{T(0)}, {T(0), T(1)}}, z, z0); }
};

template <class T>
struct LeakyReLU {
  static constexpr const char* name = "leaky_relu";

  T slope;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("slope", self.slope);
  }

  HD bool zero_at_zero() const { return true; }
  HD T value(T z) const { return z > 0 ? z : slope * z; }
  HD T derivative(T z) const { return z > 0 ? T(1) : slope; }
  HD T quotient(T z, T z0) const { return piecewise_quotient(*this, Pieces<T, 1>{{T(0)}, {slope, T(1)}}, z, z0); }
};

// The leaky form with a slope per channel, which a schedule sets. [he2015] eq. (1).
template <class T>
struct PReLU : LeakyReLU<T> {
  static constexpr const char* name = "prelu";
};

template <class T>
struct Clip {
  static constexpr const char* name = "clip";

  T low;
  T high;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("low", self.low);
    visit("high", self.high);
  }

  HD bool zero_at_zero() const { return low <= 0 && 0 <= high; }
  HD T value(T z) const { return smaller(larger(z, low), high); }
  HD T derivative(T z) const { return z > low && z < high ? T(1) : T(0); }
  HD T quotient(T z, T z0) const {
    return piecewise_quotient(*this, Pieces<T, 2>{{low, high}, {T(0), T(1), T(0)}}, z, z0);
  }
};

template <class T>
struct ReLU6 : Clip<T> {
  static constexpr const char* name = "relu6";

  template <class Self, class Visit>
  static void fields(Self&, Visit&&) {}

  HD ReLU6() : Clip<T>{T(0), T(6)} {}
};

template <class T>
struct HardSigmoid {
  static constexpr const char* name = "hard_sigmoid";

  T slope;
  T offset;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("slope", self.slope);
    visit("offset", self.offset);
  }

  HD T first() const { return -offset / slope; }
  HD T last() const { return (1 - offset) / slope; }

  HD bool zero_at_zero() const { return offset <= 0; }
  HD T value(T z) const { return smaller(pos(slope * z + offset), T(1)); }
  HD T derivative(T z) const { return z > first() && z < last() ? slope : T(0); }
  HD T quotient(T z, T z0) const {
    return piecewise_quotient(*this, Pieces<T, 2>{{first(), last()}, {T(0), slope, T(0)}}, z, z0);
  }
};

template <class T>
struct Identity {
  static constexpr const char* name = "identity";

  template <class Self, class Visit>
  static void fields(Self&, Visit&&) {}

  HD bool zero_at_zero() const { return true; }
  HD T value(T z) const { return z; }
  HD T derivative(T) const { return T(1); }
  HD T quotient(T z, T z0) const { return piecewise_quotient(*this, Pieces<T, 0>{{T(0)}, {T(1)}}, z, z0); }
};

// ── smooth ──

// q = α exp(hi) ϕ(hi - lo)  both ≤ 0;  1  both ≥ 0;  (hi - f(lo)) / (hi - lo)  else.  [clevert2016] eq. (15)
template <class T>
struct ELU {
  static constexpr const char* name = "elu";

  T alpha;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("alpha", self.alpha);
  }

  HD bool zero_at_zero() const { return true; }
  HD T value(T z) const {
    const T below = alpha * expm1(neg(z));
    return z > 0 ? z : below;
  }
  HD T derivative(T z) const {
    const T below = alpha * exp(neg(z));
    return z > 0 ? T(1) : below;
  }
  HD T quotient(T z, T z0) const {
    const T hi = larger(z, z0), lo = smaller(z, z0), d = hi - lo;
    const T below = alpha * exp(neg(hi)) * phi(d), across = safe_divide(hi - alpha * expm1(neg(lo)), d);
    return hi <= 0 ? below : lo >= 0 ? T(1) : across;
  }
};

// 1.0507… ELU with α = 1.6732…  [klambauer2017] eq. (2), (14)
template <class T>
struct SELU {
  static constexpr const char* name = "selu";
  static constexpr T scale = T(1.0507009873554804934193349852946);
  static constexpr T alpha = T(1.6732632423543772848170429916717);

  template <class Self, class Visit>
  static void fields(Self&, Visit&&) {}

  HD bool zero_at_zero() const { return true; }
  HD T value(T z) const { return scale * ELU<T>{alpha}.value(z); }
  HD T derivative(T z) const { return scale * ELU<T>{alpha}.derivative(z); }
  HD T quotient(T z, T z0) const { return scale * ELU<T>{alpha}.quotient(z, z0); }
};

// Quotient of z σ(v(z)), where v rises by rise · d over the gap d:  σ(v_hi) (1 + lo σ(-v_lo) ϕ(rise d) rise).
// It cancels only far below zero over a wide gap; there f(hi) - f(lo) does not.
template <class F, class T>
HD T gated_quotient(const F& f, T hi, T lo, T d, T v_hi, T v_lo, T rise) {
  const T near = sigmoid(v_hi) * (1 + lo * sigmoid(-v_lo) * phi(rise * d) * rise);
  const T far = safe_divide(f.value(hi) - f.value(lo), d);
  return lo >= 0 ? near : d < 1 ? near : far;
}

// z σ(z).  [hendrycks2016] sec. 2
template <class T>
struct SiLU {
  static constexpr const char* name = "silu";

  template <class Self, class Visit>
  static void fields(Self&, Visit&&) {}

  HD bool zero_at_zero() const { return true; }
  HD T value(T z) const { return z * sigmoid(z); }
  HD T derivative(T z) const { return sigmoid(z) * (1 + z * sigmoid(-z)); }
  HD T quotient(T z, T z0) const {
    const T hi = larger(z, z0), lo = smaller(z, z0);
    return gated_quotient(*this, hi, lo, hi - lo, hi, lo, T(1));
  }
};

// z Φ(z), which is GELU with approximate = none.  [hendrycks2016] eq. (1)
template <class T>
struct ExactGELU {
  static constexpr T root_2pi = T(2.5066282746310002);

  HD static T gate(T z) { return normal_cdf(z); }
  HD T value(T z) const { return z * gate(z); }
  HD T derivative(T z) const { return gate(z) + z * bell(z) / root_2pi; }
  HD T quotient(T z, T z0) const {
    const T hi = larger(z, z0), lo = smaller(z, z0), d = hi - lo;
    const T size = larger(T(1), larger(std::fabs(hi), std::fabs(lo)));
    return 2 * d < 1 / size ? mean_derivative(lo, d) : difference(hi, lo, d);
  }

  // The mean of f′ over [lo, lo + d] by the eight nodes of Gauss and Legendre.
  HD T mean_derivative(T lo, T d) const {
    constexpr T node[] = {T(0.019855071751231912), T(0.10166676129318664), T(0.2372337950418355), T(0.4082826787521751)};
    constexpr T weight[] = {T(0.05061426814518853), T(0.11119051722668721), T(0.15685332293894344), T(0.18134189168918083)};
    T mean = 0;
    for (int k = 0; k < 4; ++k)
      mean = mean + weight[k] * (derivative(lo + node[k] * d) + derivative(lo + (1 - node[k]) * d));
    return mean;
  }
  // ((hi⁺ - lo⁺) - (t(hi) - t(lo))) / d with t(z) = |z| Φ(-|z|)
  HD T difference(T hi, T lo, T d) const {
    const T tails = std::fabs(hi) * gate(-std::fabs(hi)) - std::fabs(lo) * gate(-std::fabs(lo));
    return safe_divide((pos(hi) - pos(lo)) - tails, d);
  }
};

// z σ(v), v = 2 √(2/π) (z + 0.044715 z³), which is GELU with approximate = tanh.
template <class T>
struct TanhGELU {
  static constexpr T cubic = T(0.044715);
  static constexpr T scale = T(1.5957691216057308);  // 2 √(2/π)

  HD static T argument(T z) {
    const T u = bounded(z);
    return scale * (u + cubic * u * u * u);
  }
  HD static T gate(T z) { return sigmoid(argument(z)); }
  HD T value(T z) const { return z * gate(z); }
  HD T derivative(T z) const {
    const T v = argument(z), u = bounded(z);
    return sigmoid(v) * (1 + u * sigmoid(-v) * scale * (1 + 3 * cubic * u * u));
  }
  HD T quotient(T z, T z0) const {
    const T hi = larger(z, z0), lo = smaller(z, z0), u = bounded(hi), v = bounded(lo);
    return gated_quotient(*this, hi, lo, hi - lo, argument(hi), argument(lo), scale * (1 + cubic * (u * u + u * v + v * v)));
  }
};

enum class Approximate { none, tanh };
constexpr std::array<const char*, 2> words(Approximate) { return {"none", "tanh"}; }

template <class T>
struct GELU {
  static constexpr const char* name = "gelu";

  Approximate approximate;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("approximate", self.approximate);
  }

  HD bool by_tanh() const { return approximate == Approximate::tanh; }
  HD bool zero_at_zero() const { return true; }
  HD T value(T z) const { return by_tanh() ? TanhGELU<T>{}.value(z) : ExactGELU<T>{}.value(z); }
  HD T derivative(T z) const { return by_tanh() ? TanhGELU<T>{}.derivative(z) : ExactGELU<T>{}.derivative(z); }
  HD T quotient(T z, T z0) const { return by_tanh() ? TanhGELU<T>{}.quotient(z, z0) : ExactGELU<T>{}.quotient(z, z0); }
};

// f(z) / z is the gate: nothing to divide.
template <class F, class T>
HD T gated_ratio(const F& f, T z, T epsilon) {
  const T denominator = stabilize(z, epsilon, Stabilizer::add), limit = f.gate(z), g = z * limit / denominator;
  return epsilon == 0 || denominator == 0 ? limit : g;
}
template <class T>
HD T activation_ratio(const ExactGELU<T>& f, T z, T epsilon) {
  return gated_ratio(f, z, epsilon);
}
template <class T>
HD T activation_ratio(const TanhGELU<T>& f, T z, T epsilon) {
  return gated_ratio(f, z, epsilon);
}
template <class T>
HD T activation_ratio(const GELU<T>& f, T z, T epsilon) {
  return f.by_tanh() ? activation_ratio(TanhGELU<T>{}, z, epsilon) : activation_ratio(ExactGELU<T>{}, z, epsilon);
}

// σ(k hi) σ(-k lo) ϕ(k (hi - lo)), where hi and lo are z and z0 by size, without σ of either by itself: what a caller
// needs for each of z and z0 is found once.
template <int k, class T>
HD T sigmoid_quotient(T z, T z0) {
  const Sides<T> at(k * z), at0(k * z0);
  return (z > z0 ? at.up * at0.down : at0.up * at.down) * phi(k * std::fabs(z - z0));
}

// f′ = 4 σ(2z) σ(-2z)      q = 4 σ(2 hi) σ(-2 lo) ϕ(2 (hi - lo))
template <class T>
struct Tanh {
  static constexpr const char* name = "tanh";

  template <class Self, class Visit>
  static void fields(Self&, Visit&&) {}

  HD bool zero_at_zero() const { return true; }
  HD T value(T z) const { return tanh(z); }
  HD T derivative(T z) const {
    const Sides<T> at(2 * z);
    return 4 * at.up * at.down;
  }
  HD T quotient(T z, T z0) const { return 4 * sigmoid_quotient<2>(z, z0); }
};

// f′ = σ(z) σ(-z)      q = σ(hi) σ(-lo) ϕ(hi - lo)
template <class T>
struct Sigmoid {
  static constexpr const char* name = "sigmoid";

  template <class Self, class Visit>
  static void fields(Self&, Visit&&) {}

  HD bool zero_at_zero() const { return false; }
  HD T value(T z) const { return sigmoid(z); }
  HD T derivative(T z) const {
    const Sides<T> at(z);
    return at.up * at.down;
  }
  HD T quotient(T z, T z0) const { return sigmoid_quotient<1>(z, z0); }
};

// (u⁺ + l(u)) / β, u = β z, l(u) = log1p(exp(-|u|))
// q = log1p(σ(lo) expm1(d)) / d  where d < 20 (in u),  ((hi⁺ - lo⁺) + (l(hi) - l(lo))) / d  else
template <class T>
struct Softplus {
  static constexpr const char* name = "softplus";

  T beta;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("beta", self.beta);
  }

  HD bool zero_at_zero() const { return false; }
  HD T value(T z) const {
    const T u = beta * z;
    return (pos(u) + log1p_exp(u)) / beta;
  }
  HD T derivative(T z) const { return sigmoid(beta * z); }
  HD T quotient(T z, T z0) const {
    const T u = beta * z, u0 = beta * z0;
    const T hi = larger(u, u0), lo = smaller(u, u0), d = hi - lo;
    const T near = log1p(sigmoid(lo) * expm1(smaller(d, T(20)))) / d;
    const T far = ((pos(hi) - pos(lo)) + (log1p_exp(hi) - log1p_exp(lo))) / d;
    return d == 0 ? sigmoid(hi) : d < 20 ? near : far;
  }
};

// visit(f), with the option of GELU decided: a loop over data inside decides nothing.
template <class F, class Visit>
decltype(auto) with_form(const F& f, Visit&& visit) {
  return visit(f);
}
template <class T, class Visit>
decltype(auto) with_form(const GELU<T>& f, Visit&& visit) {
  return f.by_tanh() ? visit(TanhGELU<T>{}) : visit(ExactGELU<T>{});
}

}  // namespace relprop::math

// The one list of activations, in the order of pyref.ACTIVATIONS.
#define FOR_EACH_ACTIVATION(_) \
  _(ReLU) _(LeakyReLU) _(PReLU) _(Clip) _(ReLU6) _(HardSigmoid) _(Identity) _(ELU) _(SELU) _(SiLU) _(GELU) _(Tanh) \
  _(Sigmoid) _(Softplus)
