// Sums back to an image of few channels. There each source that is gathered would meet the weights of few rows; here the
// product comes first, with a row for each channel and tap, and then each tap's sums are added where it lies.
//
//   P_ck[p] = Σ_o w_ock s_o[p]          r_c[p · stride + k · dilation - before] += P_ck[p]
#pragma once

#include <atomic>
#include <vector>

#include "machine/panel.h"
#include "window.h"

namespace relprop::cpu {
namespace {

template <class T>
class FoldedSums {
  static constexpr Index most_places = 5 * machine::width<T>;  // of one row, whose sources and sums stay in the second cache
  static constexpr Index most_channels = 4, most_products = 256, rows_of_a_band = 32, least_work = 1 << 20;

 public:
  // Whether this is less work than gathering: of images with two axes or one, in one group.
  static bool pays(const WindowSize& size, Way way) {
    const Windows& w = size.windows;
    const Index taps = product_of(w.kernel);
    return way == Way::scatter && size.groups == 1 && size.image_channels <= most_channels && size.window_channels >= machine::most_rows &&
           taps > 1 && size.image_channels * taps <= most_products && w.lengths[0] == 1 && w.counts[0] == 1 && w.kernel[0] == 1;
  }

  FoldedSums(const WindowSize& size, Index samples, const T* w, const std::vector<Summand<T>>& summands, const Constants<T>& constants,
             const std::function<void(const Run<T>&)>& finish)
      : windows_(size.windows), summands_(summands), constants_(constants), finish_(finish), start_(start_of(size, Way::scatter)),
        end_(end_of(size, Way::scatter)), samples_(samples), products_(end_.channels * product_of(size.windows.kernel)),
        of_phase_((windows_.lengths[2] + windows_.stride[2] - 1) / windows_.stride[2]), weights_(start_.channels * products_ * static_cast<Index>(summands.size())) {
    T* panel = weights_.data();
    for (const Summand<T>& summand : summands_)
      for (Index row = 0, taken; row < products_; row += taken) {
        taken = machine::rows_at_once(products_ - row);
        for (Index o = 0; o < start_.channels; ++o, panel += taken)
          form_weights(summand.weight, constants_.gamma, w + o * products_ + row, taken, panel);
      }
  }

  void run() const {
    const Index bands = (windows_.lengths[1] + rows_of_a_band - 1) / rows_of_a_band, jobs = samples_ * bands;
    const Index work = products_ * start_.elements() * samples_;
    for (std::size_t s = 0; s < summands_.size(); ++s) machine::count_product(2 * work);
    if (jobs * end_.elements() == 0) return;
    const Index slots = std::min<Index>({machine::threads(), jobs, 1 + work / least_work});
    const Index of_sources = start_.channels * most_places, of_sums = products_ * most_places, all = of_sources + of_sums + of_band();
    const Buffer<T> scratch(slots * all);
    std::atomic<Index> next{0};
    machine::parallel(slots, 1, [&](Index begin, Index end) {
      for (Index slot = begin; slot < end; ++slot) {
        T* sources = scratch.data() + slot * all;
        for (Index job; (job = next++) < jobs;)
          run(job / bands, job % bands * rows_of_a_band, sources, sources + of_sources, sources + of_sources + of_sums);
      }
    });
  }

 private:
  // Rows of the image, place by place within a stride: (channels, rows of a band, places within a stride, of_phase_).
  Index of_band() const { return end_.channels * rows_of_a_band * windows_.stride[2] * of_phase_; }
  T* band_row(T* band, Index channel, Index row, Index phase) const {
    return band + ((channel * rows_of_a_band + row) * windows_.stride[2] + phase) * of_phase_;
  }

  // The rows of the image from `top` on, in one sample.
  void run(Index sample, Index top, T* sources, T* sums, T* band) const {
    const Windows& w = windows_;
    const Index rows = std::min(rows_of_a_band, w.lengths[1] - top), reach = (w.kernel[1] - 1) * w.dilation[1];
    const Index first = std::max<Index>(0, (top + w.before[1] - reach + w.stride[1] - 1) / w.stride[1]);
    const Index last = std::min(w.counts[1] - 1, (top + rows - 1 + w.before[1]) / w.stride[1]);
    std::fill_n(band, of_band(), T(0));
    for (Index line = first; line <= last; ++line)
      for (std::size_t s = 0; s < summands_.size(); ++s)
        for (Index place = 0; place < w.counts[2]; place += most_places) {
          const Index places = std::min(most_places, w.counts[2] - place);
          gather(summands_[s], sample, line * w.counts[2] + place, places, sources);
          multiply_all(weights_.data() + static_cast<Index>(s) * start_.channels * products_, places, sources, sums);
          fold(line, place, places, top, rows, sums, band);
        }
    for (Index c = 0; c < end_.channels; ++c)
      for (Index y = 0; y < rows; ++y)
        for (Index phase = 0; phase < std::min(w.stride[2], w.lengths[2]); ++phase)
          finish_({sample, c, (top + y) * w.lengths[2] + phase, w.stride[2], places_of(phase), band_row(band, c, y, phase)});
  }

  Index places_of(Index phase) const { return (windows_.lengths[2] - phase + windows_.stride[2] - 1) / windows_.stride[2]; }

  void gather(const Summand<T>& summand, Index sample, Index place, Index places, T* out) const {
    const Index end = (places + machine::lanes<T> - 1) / machine::lanes<T> * machine::lanes<T>;  // what the product reads
    for (Index o = 0; o < start_.channels; ++o, out += most_places) {
      const Index here = o * start_.area + place;
      for_each_input(summand.input, constants_, summand.v + sample * start_.elements() + here, here, places, [&](Index j, T v) { out[j] = v; });
      std::fill(out + places, out + end, T(0));
    }
  }

  // panel: the summand's weights, a few rows after the other (channels of the start, rows).
  void multiply_all(const T* panel, Index places, const T* sources, T* sums) const {
    static constexpr Index zero = 0;
    for (Index row = 0, taken; row < products_; row += taken) {
      taken = machine::rows_at_once(products_ - row);
      const machine::Weights<T> weights{panel + row * start_.channels, 1, start_.channels, taken, 1, &zero, &zero, 1, 0};
      for (Index first = 0; first < places; first += machine::width<T>)
        machine::multiply(taken, places - first, weights, sources + first, most_places, sums + row * most_places + first, most_places, false);
    }
  }

  // Adds the sums of the windows from `place` on in a line to the places of the band that their taps see.
  void fold(Index line, Index place, Index places, Index top, Index rows, const T* sums, T* band) const {
    const Windows& w = windows_;
    for (Index c = 0; c < end_.channels; ++c)
      for (Index k1 = 0; k1 < w.kernel[1]; ++k1) {
        const Index y = line * w.stride[1] + k1 * w.dilation[1] - w.before[1] - top;
        if (y < 0 || y >= rows) continue;
        for (Index k2 = 0; k2 < w.kernel[2]; ++k2) {
          const Index shift = k2 * w.dilation[2] - w.before[2];
          const Index phase = (shift % w.stride[2] + w.stride[2]) % w.stride[2], to = (shift - phase) / w.stride[2] + place;
          const Index begin = std::max<Index>(0, -to), end = std::min(places, places_of(phase) - to);
          const T* from = sums + ((c * w.kernel[1] + k1) * w.kernel[2] + k2) * most_places;
          T* sum = band_row(band, c, y, phase);
          for (Index j = begin; j < end; ++j) sum[to + j] += from[j];
        }
      }
  }

  const Windows windows_;
  const std::vector<Summand<T>>& summands_;
  const Constants<T>& constants_;
  const std::function<void(const Run<T>&)>& finish_;
  const End start_, end_;
  const Index samples_, products_, of_phase_;
  const Buffer<T> weights_;  // by summand
};

}  // namespace
}  // namespace relprop::cpu
