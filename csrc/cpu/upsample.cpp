#include "relprop/upsample.h"

#include "reduce.h"

namespace relprop::cpu {
namespace {

// One way through all axes of a channel, the first axis first.
template <class T>
class Stretch {
 public:
  Index lengths = 1, counts = 1, between = 0;  // numbers before, after, and most on the way

  Stretch(int rank, const Taps<T>* taps) : rank_(rank), taps_(taps) {
    for (int a = 0; a < rank; ++a) {
      lengths *= taps[a].length;
      counts *= taps[a].count;
    }
    for (int a = 0; a + 1 < rank; ++a) between = std::max(between, outer(a + 1) * inner(a));
  }

  std::vector<std::vector<T>> formed(Factor factor, T gamma) const {
    std::vector<std::vector<T>> weights;
    for (int a = 0; a < rank_; ++a) {
      auto& w = weights.emplace_back(static_cast<std::size_t>(taps_[a].size()));
      const bool again = a > 0 && factor == Factor::raised;  // 1 + γ comes once into a product of weights ≥ 0
      form_weights(again ? Factor::plain : factor, gamma, taps_[a].weight, taps_[a].size(), w.data());
    }
    return weights;
  }

  // out (counts) of in (lengths); rooms: two of `between` numbers
  void run(const std::vector<std::vector<T>>& weights, const T* in, T* out, T* rooms) const {
    if (rank_ == 0) std::copy_n(in, counts, out);
    for (int a = 0; a < rank_; ++a) {
      T* to = a + 1 == rank_ ? out : rooms + a % 2 * between;
      along(taps_[a], weights[static_cast<std::size_t>(a)].data(), outer(a), inner(a), in, to);
      in = to;
    }
  }

 private:
  Index outer(int a) const { return a == 0 ? 1 : outer(a - 1) * taps_[a - 1].count; }
  Index inner(int a) const { return a + 1 == rank_ ? 1 : inner(a + 1) * taps_[a + 1].length; }

  static void along(const Taps<T>& taps, const T* weight, Index outer, Index inner, const T* in, T* out) {
    for (Index o = 0; o < outer; ++o, in += taps.length * inner)
      for (Index p = 0; p < taps.count; ++p, out += inner) {
        std::fill_n(out, inner, T(0));
        for (Index t = taps.begin[p]; t < taps.begin[p + 1]; ++t) {
          const T* from = in + taps.from[t] * inner;
          for (Index j = 0; j < inner; ++j) out[j] += weight[t] * from[j];
        }
      }
  }

  int rank_;
  const Taps<T>* taps_;
};

template <class T>
struct Sums {
  Stretch<T> there, back;
  Index lengths, counts;

  explicit Sums(const UpsampleSize<T>& size)
      : there(size.rank, size.there), back(size.rank, size.back), lengths(there.lengths), counts(there.counts) {}

  Index room() const { return 2 * std::max(there.between, back.between); }
  auto sums(Factor factor, T gamma) const { return there.formed(factor, gamma); }
  auto spreads(Factor factor, T gamma) const { return back.formed(factor, gamma); }
  void sum(const std::vector<std::vector<T>>& weights, const T* in, T* out, T* room) const { there.run(weights, in, out, room); }
  void spread(const std::vector<std::vector<T>>& weights, const T* in, T* out, T* room) const { back.run(weights, in, out, room); }
};

template <class Isa, class T>
using UpsampleMap = ChannelMap<Isa, T, Sums<T>>;

}  // namespace

template <class Isa, class T>
void for_isa::upsample_forward(Isa, const UpsampleSize<T>& size, const T* x, T* z) {
  UpsampleMap<Isa, T>(size.samples, size.channels, Sums<T>(size), x, nullptr)
      .sum({0, size.samples}, Factor::plain, Factor::plain, {}, z);
}

template <class Isa, class T>
void for_isa::upsample_gradient(Isa, const UpsampleSize<T>& size, const T* G, T* G_x) {
  const Sums<T> sums(size);
  const auto weights = sums.spreads(Factor::plain, T(0));
  for_each_channel<T>(size.samples * size.channels, sums.counts, sums.room(), [&](Index c, T* room) {
    sums.spread(weights, G + c * sums.counts, G_x + c * sums.lengths, room);
  });
}

template <class Isa, class T>
void for_isa::upsample_relevance(Isa, const UpsampleSize<T>& size, const T* x, const T* R, const AnyRule<T>& rule,
                                 const Bounds<T>& bounds, const T* z, const Account<T>* account, T* r) {
  affine_relevance<Isa, T>(UpsampleMap<Isa, T>(size.samples, size.channels, Sums<T>(size), x, r), nullptr, R, rule, bounds, z, account);
}

#define RELPROP_INSTANTIATE(T)                                                                                                 \
  template void for_isa::upsample_forward(machine::RELPROP_ISA, const UpsampleSize<T>&, const T*, T*);                         \
  template void for_isa::upsample_gradient(machine::RELPROP_ISA, const UpsampleSize<T>&, const T*, T*);                        \
  template void for_isa::upsample_relevance(machine::RELPROP_ISA, const UpsampleSize<T>&, const T*, const T*, const AnyRule<T>&, \
                                            const Bounds<T>&, const T*, const Account<T>*, T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cpu
