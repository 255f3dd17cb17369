// Sums in lanes, and affine maps that sum each channel by itself, axis after axis.
#pragma once

#include <vector>

#include "affine.h"

namespace relprop::cpu {
namespace {

// Σ value(i) for i below count: some side by side, so that a long sum becomes vector code. The order does not depend on
// the machine.
template <class T, class Value>
T total(Index count, Value&& value) {
  constexpr Index lanes = 16;
  T sum(0);
  Index i = 0;
  if (count >= 2 * lanes) {
    T part[lanes] = {};
    for (; i + lanes <= count; i += lanes)
      for (Index k = 0; k < lanes; ++k) part[k] += value(i + k);
    for (Index k = 0; k < lanes; ++k) sum += part[k];
  }
  for (; i < count; ++i) sum += value(i);
  return sum;
}

constexpr Index channel_grain = 1 << 14;

// f(channel counted over all samples, room of its own) for channels of `work` numbers
template <class T, class F>
void for_each_channel(Index channels, Index work, Index room, F&& f) {
  machine::parallel(channels, std::max<Index>(1, channel_grain / std::max<Index>(1, work)), [&](Index from, Index to) {
    Buffer<T> own(room);
    for (Index c = from; c < to; ++c) f(c, own.data());
  });
}

// A Sums has
//   lengths, counts, room()             numbers of a channel before and after, and that it needs on the way
//   sums(factor, γ), spreads(factor, γ) the weights under a factor, for either way
//   sum(weights, in, out, room)         out (counts) of in (lengths)
//   spread(weights, in, out, room)      its adjoint
template <class Isa, class T, class Sums>
class ChannelMap final : public AffineMap<Isa, T> {
  // Elements that one batch of samples may have: they stay in the caches between the passes.
  static constexpr Index batch_elements = 1 << 18;

 public:
  ChannelMap(Index samples, Index channels, const Sums& sums, const T* x, T* r)
      : AffineMap<Isa, T>({samples, channels * sums.lengths, 1, channels * sums.counts, true}),
        channels_(channels), sums_(sums), x_(x), r_(r) {}

  Index samples_at_once() const override {
    return std::max<Index>(1, batch_elements / std::max<Index>(1, this->size.inputs + this->size.outputs()));
  }

  bool is_nonnegative(Samples at) const override {
    return nonnegative(x_ + at.first * this->size.inputs, at.count * this->size.inputs);
  }

  void pass(const T* R) const override { std::copy_n(R, this->size.samples * this->size.outputs(), r_); }

  void sum(Samples at, Factor input, Factor weight, const Constants<T>& constants, T* z) const override {
    const auto w = sums_.sums(weight, constants.gamma);
    for_each(at.count * channels_, [&](Index c, T* channel, T* room) {
      const T* x = x_ + at.first * this->size.inputs + c * sums_.lengths;
      if (input != Factor::plain) {
        for_each_input(input, constants, x, c % channels_ * sums_.lengths, sums_.lengths, [&](Index j, T v) { channel[j] = v; });
        x = channel;
      }
      sums_.sum(w, x, z + c * sums_.counts, room);
    });
  }

  void sum_ones(Factor weight, const Constants<T>& constants, T* z) const override {
    const auto w = sums_.sums(weight, constants.gamma);
    for_each(channels_, [&](Index c, T* channel, T* room) {
      std::fill_n(channel, sums_.lengths, T(1));
      sums_.sum(w, channel, z + c * sums_.counts, room);
    });
  }

  void carry(Samples at, const Carry<T>* parts, int number, const Constants<T>& constants) const override {
    std::vector<decltype(sums_.spreads(Factor::plain, T(0)))> w;
    for (int p = 0; p < number; ++p) w.push_back(sums_.spreads(parts[p].weight, constants.gamma));
    for_each(at.count * channels_, [&](Index c, T* channel, T* room) {
      const Index offset = at.first * this->size.inputs + c * sums_.lengths;
      T* r = r_ + offset;
      std::fill_n(r, sums_.lengths, T(0));
      for (int p = 0; p < number; ++p) {
        sums_.spread(w[static_cast<std::size_t>(p)], parts[p].s + c * sums_.counts, channel, room);
        for_each_input(parts[p].input, constants, x_ + offset, c % channels_ * sums_.lengths, sums_.lengths,
                       [&](Index j, T v) { r[j] += v * channel[j]; });
      }
    });
  }

 private:
  // f(channel, room for one, room for the sums)
  template <class F>
  void for_each(Index channels, F&& f) const {
    for_each_channel<T>(channels, sums_.lengths, sums_.lengths + sums_.room(), [&](Index c, T* room) { f(c, room, room + sums_.lengths); });
  }

  Index channels_;
  Sums sums_;
  const T* x_;
  T* r_;
};

}  // namespace
}  // namespace relprop::cpu
