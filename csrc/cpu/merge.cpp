#include "relprop/merge.h"

#include "affine.h"
#include "math/merge.h"

namespace relprop::cpu {
namespace {

constexpr Index block = 256, grain = 1 << 14;
// Elements that one batch of samples may have: they stay in the caches between the passes.
constexpr Index batch_elements = 1 << 18;

// Element j of a term's weights, for `count` elements from `first` on.
template <class T>
void spread_weights(const SumTerm<T>& term, Index first, Index count, T* out) {
  for (Index j = 0; j < count;) {
    const Index run = (first + j) / term.run, last = std::min(count, (run + 1) * term.run - first);
    if (term.run == 1) {
      std::copy_n(term.w + first, count, out);
      return;
    }
    for (; j < last; ++j) out[j] = term.w[run];
  }
}

// f(sample, first element in it, count) for blocks that cover samples of `size` elements.
template <class F>
void for_each_block(Index samples, Index size, F&& f) {
  const Index blocks = (size + block - 1) / block;
  const Index least = std::max<Index>(1, grain / std::min(block, std::max<Index>(1, size)));
  machine::parallel(samples * blocks, least, [&](Index from, Index to) {
    for (Index i = from; i < to; ++i) f(i / blocks, i % blocks * block, std::min(block, size - i % blocks * block));
  });
}

template <class Isa, class T>
class SumMap final : public AffineMap<Isa, T> {
 public:
  SumMap(const SumSize& size, const SumTerm<T>* terms, int count)
      : AffineMap<Isa, T>({size.samples, size.size, size.bias_run == 1 ? 1 : size.size / size.bias_run,
                           size.bias_run == 1 ? size.size : size.bias_run, size.bias_run == 1}),
        terms_(terms), count_(count) {}

  Index samples_at_once() const override { return std::max<Index>(1, batch_elements / std::max<Index>(1, this->size.inputs)); }

  bool is_nonnegative(Samples at) const override {
    const Index size = this->size.inputs;
    return std::all_of(terms_, terms_ + count_,
                       [&](const SumTerm<T>& t) { return nonnegative(t.x + at.first * size, at.count * size); });
  }

  void pass(const T* R) const override { std::copy_n(R, this->size.samples * this->size.inputs, terms_[0].r); }

  void sum(Samples at, Factor input, Factor weight, const Constants<T>& constants, T* z) const override {
    for_each_block(at.count, this->size.inputs, [&](Index sample, Index first, Index count) {
      T w[block], part[block];
      T* out = z + sample * this->size.inputs + first;
      for (int k = 0; k < count_; ++k) {
        spread_weights(terms_[k], first, count, part);
        form_weights(weight, constants.gamma, part, count, w);
        const T* x = terms_[k].x + (at.first + sample) * this->size.inputs + first;
        if (k == 0)
          for_each_input(input, constants, x, first, count, [&](Index j, T v) { out[j] = v * w[j]; });
        else
          for_each_input(input, constants, x, first, count, [&](Index j, T v) { out[j] += v * w[j]; });
      }
    });
  }

  void sum_ones(Factor weight, const Constants<T>& constants, T* z) const override {
    for_each_block(1, this->size.inputs, [&](Index, Index first, Index count) {
      T w[block], part[block];
      std::fill_n(z + first, count, T(0));
      for (int k = 0; k < count_; ++k) {
        spread_weights(terms_[k], first, count, part);
        form_weights(weight, constants.gamma, part, count, w);
        for (Index j = 0; j < count; ++j) z[first + j] += w[j];
      }
    });
  }

  void carry(Samples at, const Carry<T>* parts, int number, const Constants<T>& constants) const override {
    for_each_block(at.count, this->size.inputs, [&](Index sample, Index first, Index count) {
      T w[block], weights[block], sum[block];
      for (int k = 0; k < count_; ++k) {
        const Index offset = (at.first + sample) * this->size.inputs + first;
        const T* x = terms_[k].x + offset;
        std::fill_n(sum, count, T(0));
        spread_weights(terms_[k], first, count, weights);
        for (int p = 0; p < number; ++p) {
          const T* s = parts[p].s + sample * this->size.inputs + first;
          form_weights(parts[p].weight, constants.gamma, weights, count, w);
          for_each_input(parts[p].input, constants, x, first, count, [&](Index j, T v) { sum[j] += v * (s[j] * w[j]); });
        }
        std::copy_n(sum, count, terms_[k].r + offset);
      }
    });
  }

 private:
  const SumTerm<T>* terms_;
  int count_;
};

// y_i = f(i) for all of them
template <class F>
void for_each(Index size, F&& f) {
  machine::parallel(size, grain, [&](Index from, Index to) {
    const F own = f;  // what is written cannot be its pointers
    for (Index i = from; i < to; ++i) own(i);
  });
}

}  // namespace

template <class Isa, class T>
void for_isa::merge_forward(Isa, const SumSize& size, const SumTerm<T>* terms, int count, const T* b, bool is_rectified, T* z) {
  for_each_block(size.samples, size.size, [=](Index sample, Index first, Index length) {
    T w[block];
    T* out = z + sample * size.size + first;
    for (int k = 0; k < count; ++k) {
      const SumTerm<T> term = terms[k];
      const T* x = term.x + sample * size.size + first;
      const bool one_weight = first / term.run == (first + length - 1) / term.run;
      const T weight = term.w[first / term.run];
      if (!one_weight) spread_weights(term, first, length, w);
      if (k == 0 && one_weight)
        for (Index j = 0; j < length; ++j) out[j] = x[j] * weight;
      else if (k == 0)
        for (Index j = 0; j < length; ++j) out[j] = x[j] * w[j];
      else if (one_weight)
        for (Index j = 0; j < length; ++j) out[j] += x[j] * weight;
      else
        for (Index j = 0; j < length; ++j) out[j] += x[j] * w[j];
    }
    if (b) {
      spread_weights({nullptr, b, size.bias_run}, first, length, w);
      for (Index j = 0; j < length; ++j) out[j] += w[j];
    }
    if (is_rectified)
      for (Index j = 0; j < length; ++j) out[j] = math::pos(out[j]);
  });
}

template <class Isa, class T>
void for_isa::merge_relevance(Isa, const SumSize& size, const SumTerm<T>* terms, int count, const T* b, const T* R,
                              const AnyRule<T>& rule, const Bounds<T>& bounds, const T* z, const Account<T>* account) {
  affine_relevance<Isa, T>(SumMap<Isa, T>(size, terms, count), b, R, rule, bounds, z, account);
}

template <class Isa, class T>
void for_isa::multiply_forward(Isa, Index size, const T* p, const T* q, T* y) {
  for_each(size, [=](Index i) { y[i] = p[i] * q[i]; });
}

template <class Isa, class T>
void for_isa::multiply_gradient(Isa, Index size, const T* p, const T* q, const T* G, T* G_p, T* G_q) {
  for_each(size, [=](Index i) { math::product_gradient(p[i], q[i], G[i], G_p[i], G_q[i]); });
}

template <class Isa, class T>
void for_isa::multiply_tangent(Isa, Index size, const T* p, const T* q, const T* dp, const T* dq, T* dy) {
  for_each(size, [=](Index i) { dy[i] = math::product_tangent(p[i], q[i], dp[i], dq[i]); });
}

template <class Isa, class T>
void for_isa::multiply_relevance(Isa, const SumSize& size, const T* p, const T* q, const T* R, math::Gate gate, T* dropped,
                                 T* R_p, T* R_q) {
  const bool drops = dropped && (gate == math::Gate::prop || gate == math::Gate::abs);
  if (dropped) std::fill_n(dropped, size.samples, T(0));
  machine::parallel(size.samples * size.size, grain, [=](Index from, Index to) {
    T none;
    for (Index i = from; i < to; ++i) math::product_relevance(R[i], p[i], q[i], gate, R_p[i], R_q[i], none);
  });
  if (!drops) return;
  machine::parallel(size.samples, std::max<Index>(1, grain / std::max<Index>(1, size.size)), [=](Index from, Index to) {
    for (Index n = from; n < to; ++n) {
      double sum = 0;
      for (Index i = n * size.size; i < (n + 1) * size.size; ++i) {
        T gate_part, signal_part, lost;
        math::product_relevance(R[i], p[i], q[i], gate, gate_part, signal_part, lost);
        sum += static_cast<double>(lost);
      }
      dropped[n] = static_cast<T>(sum);
    }
  });
}

template <class Isa, class T>
void for_isa::multiply_multiplier(Isa, Index size, const T* p, const T* q, const T* p0, const T* q0, const T* M,
                                  math::Product product, T* M_p, T* M_q) {
  for_each(size, [=](Index i) {
    T m_p, m_q;
    math::product_multiplier(p[i], q[i], p0[i], q0[i], product, m_p, m_q);
    M_p[i] = m_p * M[i];
    M_q[i] = m_q * M[i];
  });
}

template <class Isa, class T>
void for_isa::divide_forward(Isa, Index size, const T* p, const T* q, T* y) {
  for_each(size, [=](Index i) { y[i] = p[i] / q[i]; });
}

template <class Isa, class T>
void for_isa::divide_gradient(Isa, Index size, const T* p, const T* q, const T* G, T* G_p, T* G_q) {
  for_each(size, [=](Index i) { math::quotient_gradient(p[i], q[i], G[i], G_p[i], G_q[i]); });
}

template <class Isa, class T>
void for_isa::divide_tangent(Isa, Index size, const T* p, const T* q, const T* dp, const T* dq, T* dy) {
  for_each(size, [=](Index i) { dy[i] = math::quotient_tangent(p[i], q[i], dp[i], dq[i]); });
}

template <class Isa, class T>
void for_isa::divide_multiplier(Isa, Index size, const T* M, const T* q, const T* q0, T* M_q) {
  for_each(size, [=](Index i) { M_q[i] = math::reciprocal_multiplier(M[i], q[i], q0[i]); });
}

#define RELPROP_INSTANTIATE(T)                                                                                                \
  template void for_isa::merge_forward(machine::RELPROP_ISA, const SumSize&, const SumTerm<T>*, int, const T*, bool, T*);     \
  template void for_isa::merge_relevance(machine::RELPROP_ISA, const SumSize&, const SumTerm<T>*, int, const T*, const T*,    \
                                         const AnyRule<T>&, const Bounds<T>&, const T*, const Account<T>*);                   \
  template void for_isa::multiply_forward(machine::RELPROP_ISA, Index, const T*, const T*, T*);                               \
  template void for_isa::multiply_gradient(machine::RELPROP_ISA, Index, const T*, const T*, const T*, T*, T*);                \
  template void for_isa::multiply_tangent(machine::RELPROP_ISA, Index, const T*, const T*, const T*, const T*, T*);           \
  template void for_isa::multiply_relevance(machine::RELPROP_ISA, const SumSize&, const T*, const T*, const T*, math::Gate,   \
                                            T*, T*, T*);                                                                      \
  template void for_isa::multiply_multiplier(machine::RELPROP_ISA, Index, const T*, const T*, const T*, const T*, const T*,   \
                                             math::Product, T*, T*);                                                          \
  template void for_isa::divide_forward(machine::RELPROP_ISA, Index, const T*, const T*, T*);                                 \
  template void for_isa::divide_gradient(machine::RELPROP_ISA, Index, const T*, const T*, const T*, T*, T*);                  \
  template void for_isa::divide_tangent(machine::RELPROP_ISA, Index, const T*, const T*, const T*, const T*, T*);             \
  template void for_isa::divide_multiplier(machine::RELPROP_ISA, Index, const T*, const T*, const T*, T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cpu
