// The loop of the rule algebra over any affine map, for any rule. Mirrors pyref/layers/affine.py.
//
//   z_p = Σ_i input(p, x_i) · weight(p, w_io) + bias(p, b_o)        AffineMap::sum
//   s   = split(R_o, z)                                             affine.cpp
//   r_i = Σ_p input(p, x_i) · Σ_o weight(p, w_io) · s_p,o           AffineMap::carry
//
// A layer says what it is in an AffineMap; it never sees a rule, only the factors of its parts.
#pragma once

#include <algorithm>
#include <optional>
#include <type_traits>

#include "machine/isa.h"
#include "machine/memory.h"
#include "machine/threads.h"
#include "relprop/account.h"
#include "relprop/rules.h"

namespace relprop::cpu {

// A sample has `inputs` elements of x, and outputs in `segments` runs of `length`. Biases differ along a run
// and repeat in each (dense), or each run has one of its own (convolution). together: samples share a matrix product, whose
// rounding depends on their number; else each may go its own way, and its bits do not depend on the others.
struct AffineSize {
  Index samples, inputs, segments, length;
  bool bias_along, together = false;
  bool one_x = false;  // x and z are one sample's, and so those of all
  Index outputs() const { return segments * length; }
  Index period() const { return bias_along ? length : outputs(); }  // after which a sum over ones repeats
};

struct Samples {
  Index first, count;
};

// What some factors ask for: γ of `raised`; of a box its bounds, one per element of a sample.
template <class T>
struct Constants {
  T gamma;
  Bounds<T> bounds;
  math::OutOfRange out_of_range;
};

// A part on its way back: its shares s, in the shape of the outputs of the samples at hand.
template <class T>
struct Carry {
  math::Factor input, weight;
  const T* s;
};

// An affine layer with its x and w, and r, which receives the relevance of x.
template <class Isa, class T>
class AffineMap {
 public:
  const AffineSize size;

  // How many samples to take at once so that their numbers stay in the caches; at least 1.
  virtual Index samples_at_once() const = 0;
  // Whether every x of the samples is ≥ 0, which NaN is not.
  virtual bool is_nonnegative(Samples at) const = 0;
  // z = Σ_i input part · weight part, for the outputs of the samples. The input part is neither one nor none.
  virtual void sum(Samples at, math::Factor input, math::Factor weight, const Constants<T>& constants, T* z) const = 0;
  // One of these sums, of an output of a sample, by itself; nothing where a layer offers all or none.
  virtual std::optional<T> sum_at(Index, Index, math::Factor, math::Factor, const Constants<T>&) const { return std::nullopt; }
  // The same where every input part is 1: size.period() numbers.
  virtual void sum_ones(math::Factor weight, const Constants<T>& constants, T* z) const = 0;
  // The x that a sample has begins here, so many elements into x.
  Index x_of(Index sample) const { return size.one_x ? 0 : sample * size.inputs; }
  // r of the samples = Σ over parts of input part · Σ_o weight part · s. No input part is none; weight parts
  // are `one` only where the input part is.
  virtual void carry(Samples at, const Carry<T>* parts, int count, const Constants<T>& constants) const = 0;
  // r = R, where the rule is Pass.
  virtual void pass(const T* R) const = 0;

 protected:
  explicit AffineMap(const AffineSize& size) : size(size) {}
  ~AffineMap() = default;
};

// Relevance of the layer's inputs. z: the pre-activation or null; b or null; account or null.
template <class Isa, class T>
void affine_relevance(const AffineMap<Isa, T>& map, const T* b, const T* R, const AnyRule<T>& rule, const Bounds<T>& bounds,
                      const T* z, const Account<T>* account);

namespace {  // each instruction set has its own copy

using machine::Buffer;
using math::Factor;

// Calls f with the factor as a constant, so that loops know it.
template <class F>
void with_factor(Factor factor, F&& f) {
  switch (factor) {
#define RELPROP_CASE(name) \
  case Factor::name:       \
    return f(std::integral_constant<Factor, Factor::name>{});
    RELPROP_CASE(one)
    RELPROP_CASE(plain)
    RELPROP_CASE(pos)
    RELPROP_CASE(neg)
    RELPROP_CASE(abs)
    RELPROP_CASE(square)
    RELPROP_CASE(raised)
    RELPROP_CASE(above_low)
    RELPROP_CASE(below_high)
    RELPROP_CASE(none)
#undef RELPROP_CASE
  }
}

// The input part of a value at a place of its sample.
template <Factor known, class T>
T input_part(const Constants<T>& constants, T x, Index place) {
  if constexpr (known == Factor::above_low || known == Factor::below_high) {
    math::ZBox<T> box{};
    box.low = constants.bounds.low[place];
    box.high = constants.bounds.high[place];
    box.out_of_range = constants.out_of_range;
    return box.input_part(known == Factor::above_low ? 0 : 1, x);
  } else {
    return math::apply(known, x);
  }
}

// f(j, input part of x_{j step}) for `count` elements of one sample, x pointing at the first of them, its place `first`.
template <class T, class F>
void for_each_input(Factor factor, const Constants<T>& constants, const T* x, Index first, Index count, F&& f, Index step = 1) {
  with_factor(factor, [&](auto constant) {
    constexpr Factor known = decltype(constant)::value;
    if (step == 1)
      for (Index j = 0; j < count; ++j) f(j, input_part<known>(constants, x[j], first + j));
    else
      for (Index j = 0; j < count; ++j) f(j, input_part<known>(constants, x[j * step], first + j * step));
  });
}

// out_j = weight part of w_j
template <class T>
void form_weights(Factor factor, T gamma, const T* w, Index count, T* out) {
  with_factor(factor, [&](auto constant) {
    for (Index j = 0; j < count; ++j) out[j] = math::apply(decltype(constant)::value, w[j], gamma);
  });
}

// Whether every element is ≥ 0, which NaN is not.
template <class T>
bool nonnegative(const T* x, Index count) {
  constexpr Index block = 1024;
  for (Index first = 0; first < count; first += block) {
    const Index last = std::min(count, first + block);
    bool all = true;
    for (Index j = first; j < last; ++j) all &= x[j] >= 0;
    if (!all) return false;
  }
  return true;
}

}  // namespace
}  // namespace relprop::cpu
