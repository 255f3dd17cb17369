#include "relprop/reduce.h"

#include <vector>

#include "affine.h"

namespace relprop::cpu {
namespace {

constexpr Index grain = 1 << 14;
// Elements that one batch of samples may have: they stay in the caches between the passes.
constexpr Index batch_elements = 1 << 18;

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
          *out = total(in + axis.start[p], axis.stop[p] - axis.start[p]);
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

  // In lanes, so that a long sum becomes vector code; the order does not depend on the machine.
  template <class T>
  static T total(const T* in, Index count) {
    constexpr Index lanes = 16;
    T sum(0);
    Index i = 0;
    if (count >= 2 * lanes) {
      T part[lanes] = {};
      for (; i + lanes <= count; i += lanes)
        for (Index k = 0; k < lanes; ++k) part[k] += in[i + k];
      for (Index k = 0; k < lanes; ++k) sum += part[k];
    }
    for (; i < count; ++i) sum += in[i];
    return sum;
  }

  std::vector<Step> steps_;
};

// f(channel counted over all samples, room of its own for a channel, for its boxes, and for `Boxes`)
template <class T, class F>
void for_each_channel(const Boxes& boxes, Index channels, F&& f) {
  machine::parallel(channels, std::max<Index>(1, grain / std::max<Index>(1, boxes.lengths)), [&](Index from, Index to) {
    Buffer<T> channel(boxes.lengths), box(boxes.counts), rooms(2 * boxes.between);
    for (Index c = from; c < to; ++c) f(c, channel.data(), box.data(), rooms.data());
  });
}

template <class Isa, class T>
class BoxMap final : public AffineMap<Isa, T> {
 public:
  BoxMap(const BoxSize& size, const Boxes& boxes, const T* x, const T* w, T* r)
      : AffineMap<Isa, T>({size.samples, size.channels * boxes.lengths, 1, size.channels * boxes.counts, true}),
        channels_(size.channels), boxes_(boxes), x_(x), w_(w), r_(r) {}

  Index samples_at_once() const override {
    return std::max<Index>(1, batch_elements / std::max<Index>(1, this->size.inputs + this->size.outputs()));
  }

  bool is_nonnegative(Samples at) const override {
    return nonnegative(x_ + at.first * this->size.inputs, at.count * this->size.inputs);
  }

  void pass(const T* R) const override { std::copy_n(R, this->size.samples * this->size.outputs(), r_); }

  void sum(Samples at, Factor input, Factor weight, const Constants<T>& constants, T* z) const override {
    const Buffer<T> w = formed(weight, constants);
    for_each_channel<T>(boxes_, at.count * channels_, [&](Index c, T* channel, T*, T* rooms) {
      const T* x = x_ + at.first * this->size.inputs + c * boxes_.lengths;
      T* out = z + c * boxes_.counts;
      if (input != Factor::plain) {
        for_each_input(input, constants, x, c % channels_ * boxes_.lengths, boxes_.lengths, [&](Index j, T v) { channel[j] = v; });
        x = channel;
      }
      boxes_.sum(x, out, rooms);
      for (Index o = 0; o < boxes_.counts; ++o) out[o] *= w.data()[o];
    });
  }

  void sum_ones(Factor weight, const Constants<T>& constants, T* z) const override {
    const Buffer<T> w = formed(weight, constants);
    for_each_channel<T>(boxes_, channels_, [&](Index c, T* channel, T*, T* rooms) {
      T* out = z + c * boxes_.counts;
      std::fill_n(channel, boxes_.lengths, T(1));
      boxes_.sum(channel, out, rooms);
      for (Index o = 0; o < boxes_.counts; ++o) out[o] *= w.data()[o];
    });
  }

  void carry(Samples at, const Carry<T>* parts, int number, const Constants<T>& constants) const override {
    std::vector<Buffer<T>> w;
    for (int p = 0; p < number; ++p) w.push_back(formed(parts[p].weight, constants));
    for_each_channel<T>(boxes_, at.count * channels_, [&](Index c, T* channel, T* box, T* rooms) {
      const Index offset = at.first * this->size.inputs + c * boxes_.lengths;
      T* r = r_ + offset;
      std::fill_n(r, boxes_.lengths, T(0));
      for (int p = 0; p < number; ++p) {
        const T *s = parts[p].s + c * boxes_.counts, *of_part = w[static_cast<std::size_t>(p)].data();
        for (Index o = 0; o < boxes_.counts; ++o) box[o] = s[o] * of_part[o];
        boxes_.spread(box, channel, rooms);
        for_each_input(parts[p].input, constants, x_ + offset, c % channels_ * boxes_.lengths, boxes_.lengths,
                       [&](Index j, T v) { r[j] += v * channel[j]; });
      }
    });
  }

 private:
  Buffer<T> formed(Factor factor, const Constants<T>& constants) const {
    Buffer<T> w(boxes_.counts);
    form_weights(factor, constants.gamma, w_, boxes_.counts, w.data());
    return w;
  }

  Index channels_;
  const Boxes& boxes_;
  const T *x_, *w_;
  T* r_;
};

}  // namespace

template <class Isa, class T>
void for_isa::reduce_forward(Isa, const BoxSize& size, const T* x, const T* w, T* z) {
  const Boxes boxes(size);
  BoxMap<Isa, T>(size, boxes, x, w, nullptr).sum({0, size.samples}, Factor::plain, Factor::plain, {}, z);
}

template <class Isa, class T>
void for_isa::reduce_gradient(Isa, const BoxSize& size, const T* w, const T* G, T* G_x) {
  const Boxes boxes(size);
  for_each_channel<T>(boxes, size.samples * size.channels, [&](Index c, T*, T* box, T* rooms) {
    for (Index o = 0; o < boxes.counts; ++o) box[o] = G[c * boxes.counts + o] * w[o];
    boxes.spread(box, G_x + c * boxes.lengths, rooms);
  });
}

template <class Isa, class T>
void for_isa::reduce_relevance(Isa, const BoxSize& size, const T* x, const T* w, const T* R, const AnyRule<T>& rule,
                               const Bounds<T>& bounds, const T* z, const Account<T>* account, T* r) {
  const Boxes boxes(size);
  affine_relevance<Isa, T>(BoxMap<Isa, T>(size, boxes, x, w, r), nullptr, R, rule, bounds, z, account);
}

#define RELPROP_INSTANTIATE(T)                                                                                              \
  template void for_isa::reduce_forward(machine::RELPROP_ISA, const BoxSize&, const T*, const T*, T*);                      \
  template void for_isa::reduce_gradient(machine::RELPROP_ISA, const BoxSize&, const T*, const T*, T*);                     \
  template void for_isa::reduce_relevance(machine::RELPROP_ISA, const BoxSize&, const T*, const T*, const T*,               \
                                          const AnyRule<T>&, const Bounds<T>&, const T*, const Account<T>*, T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cpu
