// Sums over windows, from an image to what its windows see or back, and the affine map that they make.
// Mirrors pyref/layers/window.py and the sums of pyref/layers/conv.py.
#pragma once

#include <functional>
#include <vector>

#include "affine.h"
#include "relprop/window.h"

namespace relprop::cpu {

enum class Way { look, scatter };  // what windows see of an image; back to the image

inline Way reversed(Way way) { return way == Way::look ? Way::scatter : Way::look; }

// v, of the shape that a way starts from, under an input part, against a part of the weights.
template <class T>
struct Summand {
  const T* v;
  math::Factor input, weight;
};

// `count` sums of one channel that a way leads to, at the places first, first + step, … of that channel.
template <class T>
struct Run {
  Index sample, channel, first, step, count;
  const T* sums;
};

// Sums over a way of all summands together, handed over while they are in the caches: every place of every
// channel once, in no particular order, on several threads. A sum has its terms in the same order whatever the
// number of samples and threads, so its bits are the same.
template <class Isa, class T>
void window_sums(Isa, const WindowSize& size, Index samples, Way way, const T* w, const std::vector<Summand<T>>& summands,
                 const Constants<T>& constants, const std::function<void(const Run<T>&)>& finish);

// The sum that a way leads to at one element of the end, from one sample.
template <class Isa, class T>
T window_sum_at(Isa, const WindowSize& size, Way way, const T* w, const Summand<T>& summand, const Constants<T>& constants, Index o);

// z (channels, *axes): the sums over a way of weight parts alone, as if every input were 1.
template <class Isa, class T>
void window_sums_of_ones(Isa, const WindowSize& size, Way way, const T* w, math::Factor weight, const Constants<T>& constants, T* z);

// out (samples, groups, *axes): the sums over a way of v where weights are 1, the same for each channel of a group.
template <class Isa, class T>
void window_box(Isa, const WindowSize& size, Index samples, Way way, const T* v, bool add, T* out);

namespace {  // each instruction set has its own copy

inline Index product_of(const Index* lengths) { return lengths[0] * lengths[1] * lengths[2]; }

// What lies at one end of a way.
struct End {
  Index channels, area;
  Index elements() const { return channels * area; }
};

inline End start_of(const WindowSize& size, Way way) {
  if (way == Way::look) return {size.image_channels, product_of(size.windows.lengths)};
  return {size.window_channels, product_of(size.windows.counts)};
}
inline End end_of(const WindowSize& size, Way way) { return start_of(size, reversed(way)); }

// z = the sums over a way, plus b of the channel; or max(z, 0)
template <class Isa, class T>
void window_forward(Isa isa, const WindowSize& size, Way way, const T* x, const T* w, const T* b, T* z, bool is_rectified = false) {
  const End end = end_of(size, way);
  window_sums<Isa, T>(isa, size, size.samples, way, w, {{x, Factor::plain, Factor::plain}}, {}, [&](const Run<T>& run) {
    T* out = z + run.sample * end.elements() + run.channel * end.area + run.first;
    const T bias = b ? b[run.channel] : T(0);
    const auto store = [&](auto&& value) {
      if (run.step == 1)
        for (Index j = 0; j < run.count; ++j) out[j] = value(run.sums[j] + bias);
      else
        for (Index j = 0; j < run.count; ++j) out[j * run.step] = value(run.sums[j] + bias);
    };
    if (is_rectified)
      store([](T sum) { return math::pos(sum); });
    else
      store([](T sum) { return sum; });
  });
}

// The layer that goes a way from x: a convolution looks, its transpose scatters.
template <class Isa, class T>
class WindowMap final : public AffineMap<Isa, T> {
  // Elements of input and output that one batch of samples may have.
  static constexpr Index batch_elements = 1 << 20;

 public:
  WindowMap(const WindowSize& size, Way way, const T* x, const T* w, T* r)
      : AffineMap<Isa, T>({size.samples, start_of(size, way).elements(), end_of(size, way).channels, end_of(size, way).area, false, false,
                            size.one_x}),
        size_(size), way_(way), x_(x), w_(w), r_(r) {}

  Index samples_at_once() const override {
    return std::max<Index>(1, batch_elements / std::max<Index>(1, this->size.inputs + this->size.outputs()));
  }

  bool is_nonnegative(Samples at) const override {
    return nonnegative(x_ + at.first * this->size.inputs, at.count * this->size.inputs);
  }

  void pass(const T* R) const override { std::copy_n(R, this->size.samples * this->size.outputs(), r_); }

  void sum(Samples at, Factor input, Factor weight, const Constants<T>& constants, T* z) const override {
    const End end = end_of(size_, way_);
    const T* x = x_ + at.first * this->size.inputs;
    window_sums<Isa, T>(Isa{}, size_, at.count, way_, w_, {{x, input, weight}}, constants, [&](const Run<T>& run) {
      T* out = z + run.sample * end.elements() + run.channel * end.area + run.first;
      for (Index j = 0; j < run.count; ++j) out[j * run.step] = run.sums[j];
    });
  }

  std::optional<T> sum_at(Index sample, Index o, Factor input, Factor weight, const Constants<T>& constants) const override {
    return window_sum_at(Isa{}, size_, way_, w_, Summand<T>{x_ + this->x_of(sample), input, weight}, constants, o);
  }

  void sum_ones(Factor weight, const Constants<T>& constants, T* z) const override {
    window_sums_of_ones(Isa{}, size_, way_, w_, weight, constants, z);
  }

  // Parts that share their input part are added up before they meet it.
  void carry(Samples at, const Carry<T>* parts, int count, const Constants<T>& constants) const override {
    const End start = start_of(size_, way_);
    const T* x = x_ + this->x_of(at.first);
    T* r = r_ + at.first * this->size.inputs;
    if (count == 0) std::fill_n(r, at.count * this->size.inputs, T(0));
    for (int p = 0; p < count; ++p) {
      const Factor input = parts[p].input;
      if (std::any_of(parts, parts + p, [&](const Carry<T>& other) { return other.input == input; })) continue;
      std::vector<Summand<T>> summands;
      Buffer<T> evenly;
      for (int q = p; q < count; ++q) {
        if (parts[q].input != input) continue;
        if (parts[q].weight != Factor::one) {
          summands.push_back({parts[q].s, Factor::plain, parts[q].weight});
        } else {
          const bool add = evenly.data();
          if (!add) evenly = Buffer<T>(at.count * size_.groups * start.area);
          window_box(Isa{}, size_, at.count, reversed(way_), parts[q].s, add, evenly.data());
        }
      }
      const Index per_group = start.channels / size_.groups;
      window_sums<Isa, T>(Isa{}, size_, at.count, reversed(way_), w_, summands, constants, [&](const Run<T>& run) {
        const Index place = run.channel * start.area + run.first, step = run.step;
        T* out = r + run.sample * start.elements() + place;
        const T* x_here = x + this->x_of(run.sample) + place;
        const auto each = [&](auto&& f) { for_each_input(input, constants, x_here, place, run.count, f, step); };
        if (evenly.data()) {
          const T* even = evenly.data() + (run.sample * size_.groups + run.channel / per_group) * start.area + run.first;
          each([&](Index j, T v) { out[j * step] = v * (run.sums[j] + even[j * step]) + (p > 0 ? out[j * step] : T(0)); });
        } else if (p > 0) {
          each([&](Index j, T v) { out[j * step] += v * run.sums[j]; });
        } else {
          each([&](Index j, T v) { out[j * step] = v * run.sums[j]; });
        }
      });
    }
  }

 private:
  WindowSize size_;
  Way way_;
  const T* x_;
  const T* w_;
  T* r_;
};

}  // namespace
}  // namespace relprop::cpu
