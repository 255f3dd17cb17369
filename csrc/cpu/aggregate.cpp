#include "relprop/aggregate.h"

#include "affine.h"
#include "machine/blas.h"

namespace relprop::cpu {
namespace {

using machine::Matrix;

// Elements of input and output that one batch of samples may have.
constexpr Index batch_elements = 1 << 20;

template <class Isa, class T>
class AggregateMap final : public AffineMap<Isa, T> {
 public:
  AggregateMap(const AggregateSize& size, const T* x, const T* A, T* r)
      : AffineMap<Isa, T>({size.samples, size.nodes * size.channels, 1, size.after * size.channels, true}),
        size_(size), x_(x), A_(A), r_(r) {}

  Index samples_at_once() const override {
    return std::max<Index>(1, batch_elements / std::max<Index>(1, this->size.inputs + this->size.outputs()));
  }
  bool is_nonnegative(Samples at) const override {
    return nonnegative(x_ + at.first * this->size.inputs, at.count * this->size.inputs);
  }
  void pass(const T* R) const override { std::copy_n(R, this->size.samples * this->size.outputs(), r_); }

  void sum(Samples at, Factor input, Factor weight, const Constants<T>& constants, T* z) const override {
    const Buffer<T> w = formed(weight, constants), room(input == Factor::plain ? 0 : this->size.inputs);
    for (Index n = 0; n < at.count; ++n) {
      const T* x = x_ + (at.first + n) * this->size.inputs;
      if (input != Factor::plain) {
        for_each_input(input, constants, x, 0, this->size.inputs, [to = room.data()](Index j, T v) { to[j] = v; });
        x = room.data();
      }
      product(weights(w), Matrix<T>{x, size_.nodes, size_.channels, size_.channels}, z + n * this->size.outputs(), size_.channels);
    }
  }

  void sum_ones(Factor weight, const Constants<T>& constants, T* z) const override {
    const Buffer<T> w = formed(weight, constants);
    for (Index v = 0; v < size_.after; ++v) {
      T sum(0);
      for (Index u = 0; u < size_.nodes; ++u) sum += weights(w).data[v * size_.nodes + u];
      std::fill_n(z + v * size_.channels, size_.channels, sum);
    }
  }

  void carry(Samples at, const Carry<T>* parts, int count, const Constants<T>& constants) const override {
    std::fill_n(r_ + at.first * this->size.inputs, at.count * this->size.inputs, T(0));
    const Buffer<T> room(this->size.inputs);
    for (int p = 0; p < count; ++p) {
      const Buffer<T> w = formed(parts[p].weight, constants);
      for (Index n = 0; n < at.count; ++n) {
        const Index offset = (at.first + n) * this->size.inputs;
        const Matrix<T> s{parts[p].s + n * this->size.outputs(), size_.after, size_.channels, size_.channels};
        product(weights(w).flipped(), s, room.data(), size_.channels);
        for_each_input(parts[p].input, constants, x_ + offset, 0, this->size.inputs,
                       [from = room.data(), r = r_ + offset](Index j, T v) { r[j] += v * from[j]; });
      }
    }
  }

 private:
  // A part of the weights, which exist where there is an edge; nothing for A itself.
  Buffer<T> formed(Factor factor, const Constants<T>& constants) const {
    const Index size = size_.after * size_.nodes;
    Buffer<T> w(factor == Factor::plain ? 0 : size);
    if (factor == Factor::plain) return w;
    form_weights(factor, constants.gamma, A_, size, w.data());
    for (Index k = 0; k < size; ++k) w.data()[k] = A_[k] != 0 ? w.data()[k] : T(0);
    return w;
  }
  Matrix<T> weights(const Buffer<T>& formed) const {
    return {formed.data() ? formed.data() : A_, size_.after, size_.nodes, size_.nodes};
  }

  AggregateSize size_;
  const T *x_, *A_;
  T* r_;
};

}  // namespace

template <class Isa, class T>
void for_isa::aggregate_forward(Isa, const AggregateSize& size, const T* x, const T* A, T* y) {
  AggregateMap<Isa, T>(size, x, A, nullptr).sum({0, size.samples}, Factor::plain, Factor::plain, {}, y);
}

template <class Isa, class T>
void for_isa::aggregate_gradient(Isa, const AggregateSize& size, const T* A, const T* G, T* G_x) {
  const Matrix<T> back = Matrix<T>{A, size.after, size.nodes, size.nodes}.flipped();
  for (Index n = 0; n < size.samples; ++n) {
    const Matrix<T> signal{G + n * size.after * size.channels, size.after, size.channels, size.channels};
    product(back, signal, G_x + n * size.nodes * size.channels, size.channels);
  }
}

template <class Isa, class T>
void for_isa::aggregate_relevance(Isa, const AggregateSize& size, const T* x, const T* A, const T* R, const AnyRule<T>& rule,
                                  const Bounds<T>& bounds, const T* z, const Account<T>* account, T* r) {
  affine_relevance<Isa, T>(AggregateMap<Isa, T>(size, x, A, r), nullptr, R, rule, bounds, z, account);
}

#define RELPROP_INSTANTIATE(T)                                                                                                 \
  template void for_isa::aggregate_forward(machine::RELPROP_ISA, const AggregateSize&, const T*, const T*, T*);                \
  template void for_isa::aggregate_gradient(machine::RELPROP_ISA, const AggregateSize&, const T*, const T*, T*);               \
  template void for_isa::aggregate_relevance(machine::RELPROP_ISA, const AggregateSize&, const T*, const T*, const T*,         \
                                             const AnyRule<T>&, const Bounds<T>&, const T*, const Account<T>*, T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cpu
