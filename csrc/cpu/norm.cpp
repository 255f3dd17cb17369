#include "relprop/norm.h"

#include "affine.h"
#include "reduce.h"

namespace relprop::cpu {
namespace {

constexpr Index grain = 1 << 12;
// Elements that one batch of samples may have: they stay in the caches between the passes.
constexpr Index batch_elements = 1 << 18;

// ---- over groups of values ----

// f(run counted over all samples, its group, its first element)
template <class F>
void for_each_run(const NormSize& size, F&& f) {
  machine::parallel(size.samples * size.groups, std::max<Index>(1, grain / std::max<Index>(1, size.length)), [&](Index from, Index to) {
    for (Index run = from; run < to; ++run) f(run, run % size.groups, run * size.length);
  });
}

// f(j, the index of its weight) for the elements of a group
template <class F>
void each(const NormSize& size, Index group, F&& f) {
  const Index first = group * size.apart;
  if (size.run == 1) {
    for (Index j = 0; j < size.length; ++j) f(j, first + j);
    return;
  }
  for (Index j = 0, i = first; j < size.length; ++i)
    for (const Index last = j + size.run; j < last; ++j) f(j, i);
}

template <class T>
struct Statistics {
  T mean, s;
};

template <class T>
Statistics<T> statistics(const T* x, Index length, T eps) {
  const T m = static_cast<T>(length), mean = total<T>(length, [=](Index j) { return x[j]; }) / m;
  const T v = total<T>(length, [=](Index j) { return (x[j] - mean) * (x[j] - mean); }) / m;
  return {mean, math::norm_scale(v, eps)};
}

// out = the derivative of the normalised values, times out
template <class T>
void differentiate(const T* x, const Statistics<T>& of, Index length, T* out) {
  const T m = static_cast<T>(length), mean = of.mean, s = of.s;
  const T mean_h = total<T>(length, [=](Index j) { return out[j]; }) / m;
  const T mean_nh = total<T>(length, [=](Index j) { return (x[j] - mean) * s * out[j]; }) / m;
  for (Index j = 0; j < length; ++j) out[j] = math::norm_gradient(s, (x[j] - mean) * s, out[j], mean_h, mean_nh);
}

// With the scales as constants. They differ from sample to sample, and with them sums over ones under a rule that
// squares weights: it is given one sample at a time.
template <class Isa, class T>
class NormMap final : public AffineMap<Isa, T> {
 public:
  NormMap(const NormSize& size, const T* x, const T* weight, const T* scales, T* r)
      : AffineMap<Isa, T>({size.samples, size.groups * size.length, 1, size.groups * size.length, true}),
        of_(size), x_(x), weight_(weight), scales_(scales), r_(r) {}

  Index samples_at_once() const override { return std::max<Index>(1, batch_elements / std::max<Index>(1, this->size.inputs)); }

  bool is_nonnegative(Samples at) const override {
    return nonnegative(x_ + at.first * this->size.inputs, at.count * this->size.inputs);
  }

  void pass(const T* R) const override { std::copy_n(R, this->size.samples * this->size.inputs, r_); }

  void sum(Samples at, Factor input, Factor weight, const Constants<T>& constants, T* z) const override {
    for_each_run(only(at.count), [&](Index run, Index group, Index first) {
      T* out = z + first;
      const T* x = x_ + at.first * this->size.inputs + first;
      for_each_input(input, constants, x, group * of_.length, of_.length, [&](Index j, T v) { out[j] = v; });
      const T all = total<T>(of_.length, [=](Index j) { return out[j]; });
      weighted(weight, constants, at.first * of_.groups + run, group,
               [&](Index j, T own, T other) { out[j] = math::norm_sum(own, other, out[j], all); });
    });
  }

  void sum_ones(Factor weight, const Constants<T>& constants, T* z) const override {
    for_each_run(only(1), [&](Index run, Index group, Index first) {
      weighted(weight, constants, run, group,
               [&](Index j, T own, T other) { z[first + j] = math::norm_sum(own, other, T(1), static_cast<T>(of_.length)); });
    });
  }

  void carry(Samples at, const Carry<T>* parts, int number, const Constants<T>& constants) const override {
    machine::parallel(at.count * of_.groups, std::max<Index>(1, grain / std::max<Index>(1, of_.length)), [&](Index from, Index to) {
      Buffer<T> room(of_.length);
      T* back = room.data();
      for (Index run = from; run < to; ++run) {
        const Index group = run % of_.groups, first = run * of_.length, offset = at.first * this->size.inputs + first;
        T* r = r_ + offset;
        std::fill_n(r, of_.length, T(0));
        for (int p = 0; p < number; ++p) {
          const T* s = parts[p].s + first;
          const Index scale = at.first * of_.groups + run;
          weighted(parts[p].weight, constants, scale, group, [&](Index j, T, T other) { back[j] = other * s[j]; });
          const T others = total<T>(of_.length, [=](Index j) { return back[j]; });
          weighted(parts[p].weight, constants, scale, group,
                   [&](Index j, T own, T other) { back[j] = math::norm_carry(own, other, s[j], others); });
          for_each_input(parts[p].input, constants, x_ + offset, group * of_.length, of_.length,
                         [&](Index j, T v) { r[j] += v * back[j]; });
        }
      }
    });
  }

 private:
  NormSize only(Index samples) const { return {samples, of_.groups, of_.length, of_.run, of_.apart}; }

  // f(j, weight part of its own weight, that of the others) for the elements of a group
  template <class F>
  void weighted(Factor factor, const Constants<T>& constants, Index scale, Index group, F&& f) const {
    const T s = scales_[scale], m = static_cast<T>(of_.length), gamma = constants.gamma;
    with_factor(factor, [&](auto constant) {
      constexpr Factor known = decltype(constant)::value;
      each(of_, group, [&](Index j, Index i) {
        const auto w = math::norm_weights(weight_[i], s, m);
        f(j, math::apply(known, w.own, gamma), math::apply(known, w.other, gamma));
      });
    });
  }

  NormSize of_;
  const T *x_, *weight_, *scales_;
  T* r_;
};

// ---- over neighbouring channels ----

constexpr Index most_positions = 64;

// f(first element, positions, room): some positions of a sample side by side; each room has a number for every channel
// and position.
template <class T, class F>
void for_each_columns(const LocalResponseSize& size, Index rooms, F&& f) {
  const Index blocks = (size.positions + most_positions - 1) / most_positions, work = size.channels * std::min(size.positions, most_positions);
  machine::parallel(size.samples * blocks, std::max<Index>(1, grain / 4 / std::max<Index>(1, work)), [&](Index from, Index to) {
    Buffer<T> room(rooms * work);
    for (Index block = from; block < to; ++block) {
      const Index first = block % blocks * most_positions;
      f(block / blocks * size.channels * size.positions + first, std::min(most_positions, size.positions - first), room.data());
    }
  });
}

// out (channels, count) = Σ of value(element of x, element of a room) over the channels c - before … c + after
template <class T, class Value>
void sum_neighbours(const LocalResponseSize& size, Index before, Index after, Index count, T* out, Value&& value) {
  for (Index c = 0; c < size.channels; ++c) {
    T* to = out + c * count;
    std::fill_n(to, count, T(0));
    for (Index from = std::max<Index>(0, c - before); from <= std::min(size.channels - 1, c + after); ++from)
      for (Index j = 0; j < count; ++j) to[j] += value(from * size.positions + j, from * count + j);
  }
}

// D (channels, count)
template <class T>
void denominators(const LocalResponseSize& size, const math::LocalResponse<T>& f, Index count, const T* x, T* D) {
  sum_neighbours(size, size.before, size.after, count, D, [=](Index i, Index) { return x[i] * x[i]; });
  for (Index i = 0; i < size.channels * count; ++i) D[i] = f.denominator(D[i]);
}

// f(element of x, element of a room)
template <class F>
void for_each_of(const LocalResponseSize& size, Index count, F&& f) {
  for (Index c = 0; c < size.channels; ++c)
    for (Index j = 0; j < count; ++j) f(c * size.positions + j, c * count + j);
}

}  // namespace

template <class Isa, class T>
void for_isa::norm_forward(Isa, const NormSize& size, const T* x, const T* weight, const T* bias, T eps, T* y) {
  for_each_run(size, [=](Index, Index group, Index first) {
    const T* in = x + first;
    T* out = y + first;
    const auto of = statistics(in, size.length, eps);
    each(size, group, [=](Index j, Index i) { out[j] = (in[j] - of.mean) * of.s * weight[i]; });
    if (bias) each(size, group, [=](Index j, Index i) { out[j] += bias[i]; });
  });
}

template <class Isa, class T>
void for_isa::norm_gradient(Isa, const NormSize& size, const T* x, const T* weight, T eps, const T* G, T* G_x) {
  for_each_run(size, [=](Index, Index group, Index first) {
    const T* g = G + first;
    T* out = G_x + first;
    each(size, group, [=](Index j, Index i) { out[j] = weight[i] * g[j]; });
    differentiate(x + first, statistics(x + first, size.length, eps), size.length, out);
  });
}

template <class Isa, class T>
void for_isa::norm_tangent(Isa, const NormSize& size, const T* x, const T* weight, T eps, const T* dx, T* dy) {
  for_each_run(size, [=](Index, Index group, Index first) {
    T* out = dy + first;
    std::copy_n(dx + first, size.length, out);
    differentiate(x + first, statistics(x + first, size.length, eps), size.length, out);
    each(size, group, [=](Index j, Index i) { out[j] *= weight[i]; });
  });
}

template <class Isa, class T>
void for_isa::norm_relevance(Isa, const NormSize& size, const T* x, const T* weight, const T* bias, T eps, const T* R,
                             const AnyRule<T>& rule, const Bounds<T>& bounds, const T* z, const Account<T>* account, T* r) {
  const Index outputs = size.groups * size.length;
  Buffer<T> scales(size.samples * size.groups), biases(bias ? outputs : 0);
  for_each_run(size, [&](Index run, Index, Index first) { scales.data()[run] = statistics(x + first, size.length, eps).s; });
  for (Index group = 0; bias && group < size.groups; ++group)
    each(size, group, [&](Index j, Index i) { biases.data()[group * size.length + j] = bias[i]; });
  const Index step = std::holds_alternative<math::WSquare<T>>(rule) ? 1 : std::max<Index>(1, size.samples);
  for (Index first = 0; first < size.samples; first += step) {
    const Index offset = first * outputs;
    const NormSize some{std::min(step, size.samples - first), size.groups, size.length, size.run, size.apart};
    Account<T> here;
    if (account) here = {bias ? account->bias + offset : nullptr, account->stabilizer + first, account->dropped + first};
    affine_relevance<Isa, T>(NormMap<Isa, T>(some, x + offset, weight, scales.data() + first * size.groups, r + offset),
                             bias ? biases.data() : nullptr, R + offset, rule, bounds, z ? z + offset : nullptr, account ? &here : nullptr);
  }
}

template <class Isa, class T>
void for_isa::norm_multiplier(Isa, const NormSize& size, const T* x, const T* x0, const T* weight, T eps, const T* M,
                              math::Product product, T* M_x) {
  for_each_run(size, [=](Index, Index group, Index first) {
    const T *a = x + first, *a0 = x0 + first, *signal = M + first;
    T* out = M_x + first;
    const auto of = statistics(a, size.length, eps), of0 = statistics(a0, size.length, eps);
    const T m = static_cast<T>(size.length);
    const auto through = [=](Index j) {  // the multipliers of s and u
      return math::multiplier_of_product(of.s, a[j] - of.mean, of0.s, a0[j] - of0.mean, product);
    };
    each(size, group, [=](Index j, Index i) { out[j] = weight[i] * signal[j]; });
    const T M_v = math::norm_multiplier_of_v(total<T>(size.length, [=](Index j) { return out[j] * through(j).gate; }), of.s, of0.s);
    for (Index j = 0; j < size.length; ++j)
      out[j] = math::norm_multiplier_of_u(out[j], through(j).signal, M_v, a[j] - of.mean, a0[j] - of0.mean, m);
    const T mean = total<T>(size.length, [=](Index j) { return out[j]; }) / m;
    for (Index j = 0; j < size.length; ++j) out[j] -= mean;
  });
}

template <class Isa, class T>
void for_isa::local_response_norm_forward(Isa, const LocalResponseSize& size, const math::LocalResponse<T>& f, const T* x, T* y) {
  for_each_columns<T>(size, 1, [=](Index first, Index count, T* D) {
    denominators(size, f, count, x + first, D);
    for_each_of(size, count, [=](Index i, Index k) { y[first + i] = x[first + i] * f.gate(D[k]); });
  });
}

template <class Isa, class T>
void for_isa::local_response_norm_gradient(Isa, const LocalResponseSize& size, const math::LocalResponse<T>& f, const T* x, const T* G,
                                           T* G_x) {
  for_each_columns<T>(size, 3, [=](Index first, Index count, T* D) {
    const T *in = x + first, *g = G + first;
    T *sent = D + size.channels * count, *seen = sent + size.channels * count;
    denominators(size, f, count, in, D);
    for_each_of(size, count, [=](Index i, Index k) { sent[k] = f.sent(in[i], g[i], D[k]); });
    sum_neighbours(size, size.after, size.before, count, seen, [=](Index, Index k) { return sent[k]; });
    for_each_of(size, count, [=](Index i, Index k) { G_x[first + i] = f.gradient(in[i], g[i], D[k], seen[k]); });
  });
}

template <class Isa, class T>
void for_isa::local_response_norm_tangent(Isa, const LocalResponseSize& size, const math::LocalResponse<T>& f, const T* x, const T* dx,
                                          T* dy) {
  for_each_columns<T>(size, 2, [=](Index first, Index count, T* D) {
    const T *in = x + first, *change = dx + first;
    T* sees = D + size.channels * count;
    denominators(size, f, count, in, D);
    sum_neighbours(size, size.before, size.after, count, sees, [=](Index i, Index) { return in[i] * change[i]; });
    for_each_of(size, count, [=](Index i, Index k) { dy[first + i] = f.tangent(in[i], change[i], D[k], sees[k]); });
  });
}

template <class Isa, class T>
void for_isa::local_response_norm_multiplier(Isa, const LocalResponseSize& size, const math::LocalResponse<T>& f, const T* x,
                                             const T* x0, const T* M, math::Product product, T* M_x) {
  for_each_columns<T>(size, 4, [=](Index first, Index count, T* D) {
    const T *in = x + first, *in0 = x0 + first, *m = M + first;
    T *D0 = D + size.channels * count, *sent = D0 + size.channels * count, *seen = sent + size.channels * count;
    denominators(size, f, count, in, D);
    denominators(size, f, count, in0, D0);
    for_each_of(size, count, [=](Index i, Index k) { sent[k] = f.multiplier_of_square(in[i], in0[i], m[i], D[k], D0[k], product); });
    sum_neighbours(size, size.after, size.before, count, seen, [=](Index, Index k) { return sent[k]; });
    for_each_of(size, count,
                [=](Index i, Index k) { M_x[first + i] = f.multiplier(in[i], in0[i], m[i], D[k], D0[k], seen[k], product); });
  });
}

#define RELPROP_INSTANTIATE(T)                                                                                                    \
  template void for_isa::norm_forward(machine::RELPROP_ISA, const NormSize&, const T*, const T*, const T*, T, T*);                \
  template void for_isa::norm_gradient(machine::RELPROP_ISA, const NormSize&, const T*, const T*, T, const T*, T*);               \
  template void for_isa::norm_tangent(machine::RELPROP_ISA, const NormSize&, const T*, const T*, T, const T*, T*);                \
  template void for_isa::norm_relevance(machine::RELPROP_ISA, const NormSize&, const T*, const T*, const T*, T, const T*,         \
                                        const AnyRule<T>&, const Bounds<T>&, const T*, const Account<T>*, T*);                    \
  template void for_isa::norm_multiplier(machine::RELPROP_ISA, const NormSize&, const T*, const T*, const T*, T, const T*,        \
                                         math::Product, T*);                                                                     \
  template void for_isa::local_response_norm_forward(machine::RELPROP_ISA, const LocalResponseSize&, const math::LocalResponse<T>&, \
                                                     const T*, T*);                                                              \
  template void for_isa::local_response_norm_gradient(machine::RELPROP_ISA, const LocalResponseSize&,                             \
                                                      const math::LocalResponse<T>&, const T*, const T*, T*);                     \
  template void for_isa::local_response_norm_tangent(machine::RELPROP_ISA, const LocalResponseSize&,                              \
                                                     const math::LocalResponse<T>&, const T*, const T*, T*);                      \
  template void for_isa::local_response_norm_multiplier(machine::RELPROP_ISA, const LocalResponseSize&,                           \
                                                        const math::LocalResponse<T>&, const T*, const T*, const T*, math::Product, T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cpu
