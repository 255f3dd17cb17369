#include "relprop/reduce.h"

#include "reduce.h"

namespace relprop::cpu {
namespace {

// Sums over boxes of one channel, one axis after the other, and their adjoint.
class Boxes {
 public:
  Index lengths = 1, counts = 1;  // numbers of a channel before and after
  Index between = 0;              // most numbers after some of the axes

  explicit Boxes(const BoxSize& size) {
    for (int a = 0; a < size.rank; ++a) lengths *= size.axes[a].length;
    Index outer = 1;
    for (int a = 0; a < size.rank; ++a) {
      const BoxAxis& axis = size.axes[a];
      Index inner = 1;
      for (int b = a + 1; b < size.rank; ++b) inner *= size.axes[b].length;
      if (axis.start) {
        steps_.push_back({axis, outer, inner});
        between = std::max(between, outer * std::max(axis.length, axis.count) * inner);
      }
      outer *= axis.count;
    }
    counts = outer;
  }

  // out (counts) of in (lengths); rooms: two of `between` numbers
  template <class T>
  void sum(const T* in, T* out, T* rooms) const {
    if (steps_.empty()) std::copy_n(in, counts, out);
    for (std::size_t k = 0; k < steps_.size(); ++k) {
      T* to = k + 1 == steps_.size() ? out : rooms + static_cast<Index>(k % 2) * between;
      sum_along(steps_[k], in, to);
      in = to;
    }
  }

  // out (lengths) of in (counts)
  template <class T>
  void spread(const T* in, T* out, T* rooms) const {
    if (steps_.empty()) std::copy_n(in, counts, out);
    for (std::size_t k = steps_.size(); k-- > 0;) {
      T* to = k == 0 ? out : rooms + static_cast<Index>(k % 2) * between;
      spread_along(steps_[k], in, to);
      in = to;
    }
  }

 private:
  // An axis with what lies before it, summed already, and after it.
  struct Step {
    BoxAxis axis;
    Index outer, inner;
  };

  template <class T>
  static void sum_along(const Step& step, const T* in, T* out) {
    const BoxAxis& axis = step.axis;
    const Index inner = step.inner;
    for (Index o = 0; o < step.outer; ++o, in += axis.length * inner)
      for (Index p = 0; p < axis.count; ++p, out += inner) {
        if (inner == 1) {
          const T* first = in + axis.start[p];
          *out = total<T>(axis.stop[p] - axis.start[p], [=](Index i) { return first[i]; });
          continue;
        }
        std::fill_n(out, inner, T(0));
        for (Index i = axis.start[p]; i < axis.stop[p]; ++i)
          for (Index j = 0; j < inner; ++j) out[j] += in[i * inner + j];
      }
  }

  template <class T>
  static void spread_along(const Step& step, const T* in, T* out) {
    const BoxAxis& axis = step.axis;
    const Index inner = step.inner;
    for (Index o = 0; o < step.outer; ++o, out += axis.length * inner) {
      std::fill_n(out, axis.length * inner, T(0));
      for (Index p = 0; p < axis.count; ++p, in += inner)
        for (Index i = axis.start[p]; i < axis.stop[p]; ++i)
          for (Index j = 0; j < inner; ++j) out[i * inner + j] += in[j];
    }
  }

  std::vector<Step> steps_;
};

// The same with a weight per box, as a map.
template <class T>
struct WeightedBoxes {
  const Boxes& boxes;
  const T* w;
  Index lengths, counts;

  WeightedBoxes(const Boxes& boxes, const T* w) : boxes(boxes), w(w), lengths(boxes.lengths), counts(boxes.counts) {}

  Index room() const { return counts + 2 * boxes.between; }

  std::vector<T> sums(Factor factor, T gamma) const {
    std::vector<T> formed(static_cast<std::size_t>(counts));
    form_weights(factor, gamma, w, counts, formed.data());
    return formed;
  }
  std::vector<T> spreads(Factor factor, T gamma) const { return sums(factor, gamma); }

  void sum(const std::vector<T>& weights, const T* in, T* out, T* room) const {
    boxes.sum(in, out, room);
    for (Index o = 0; o < counts; ++o) out[o] *= weights[static_cast<std::size_t>(o)];
  }
  void spread(const std::vector<T>& weights, const T* in, T* out, T* room) const {
    for (Index o = 0; o < counts; ++o) room[o] = in[o] * weights[static_cast<std::size_t>(o)];
    boxes.spread(room, out, room + counts);
  }
};

template <class Isa, class T>
using BoxMap = ChannelMap<Isa, T, WeightedBoxes<T>>;

}  // namespace

template <class Isa, class T>
void for_isa::reduce_forward(Isa, const BoxSize& size, const T* x, const T* w, T* z) {
  const Boxes boxes(size);
  BoxMap<Isa, T>(size.samples, size.channels, {boxes, w}, x, nullptr).sum({0, size.samples}, Factor::plain, Factor::plain, {}, z);
}

template <class Isa, class T>
void for_isa::reduce_gradient(Isa, const BoxSize& size, const T* w, const T* G, T* G_x) {
  const Boxes boxes(size);
  const WeightedBoxes<T> sums(boxes, w);
  const auto weights = sums.spreads(Factor::plain, T(0));
  for_each_channel<T>(size.samples * size.channels, boxes.lengths, sums.room(), [&](Index c, T* room) {
    sums.spread(weights, G + c * boxes.counts, G_x + c * boxes.lengths, room);
  });
}

template <class Isa, class T>
void for_isa::reduce_relevance(Isa, const BoxSize& size, const T* x, const T* w, const T* R, const AnyRule<T>& rule,
                               const Bounds<T>& bounds, const T* z, const Account<T>* account, T* r) {
  const Boxes boxes(size);
  affine_relevance<Isa, T>(BoxMap<Isa, T>(size.samples, size.channels, {boxes, w}, x, r), nullptr, R, rule, bounds, z, account);
}

#define RELPROP_INSTANTIATE(T)                                                                                              \
  template void for_isa::reduce_forward(machine::RELPROP_ISA, const BoxSize&, const T*, const T*, T*);                      \
  template void for_isa::reduce_gradient(machine::RELPROP_ISA, const BoxSize&, const T*, const T*, T*);                     \
  template void for_isa::reduce_relevance(machine::RELPROP_ISA, const BoxSize&, const T*, const T*, const T*,               \
                                          const AnyRule<T>&, const Bounds<T>&, const T*, const Account<T>*, T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cpu
