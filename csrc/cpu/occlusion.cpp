#include "relprop/occlusion.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <limits>

#include "machine/panel.h"
#include "machine/threads.h"
#include "machine/turn.h"
#include "math/pool.h"
#include "relprop/dense.h"

namespace relprop::cpu {
namespace {

using machine::Buffer;
using machine::lanes;
using machine::most_rows;
using machine::multiply;
using Place = std::array<Index, window_axes>;

Index places_of(const Place& size) { return size[0] * size[1] * size[2]; }
Index place_in(const Place& size, const Place& at) { return (at[0] * size[1] + at[1]) * size[2] + at[2]; }

// f(k, place k) of a window.
template <class F>
void for_each_place(const Place& size, F&& f) {
  Index k = 0;
  for (Index i = 0; i < size[0]; ++i)
    for (Index j = 0; j < size[1]; ++j)
      for (Index l = 0; l < size[2]; ++l) f(k++, Place{i, j, l});
}

// ⌊a / b⌋
Index below(Index a, Index b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

// Values of the samples, (samples, places, channels): the channels of a place fill registers. And the size of a window.
template <class T>
struct Level {
  Index channels, row, area;  // numbers of a place with the lanes left over; places
  Place lengths, size;
  Buffer<T> values;

  Index window() const { return places_of(size) * row; }
  // f(k, where it lies in a sample) for each place k of a window that lies inside.
  template <class F>
  void for_each_inside(const Place& start, F&& f) const {
    for_each_place(size, [&](Index k, const Place& at) {
      const Index p = inside(start, at);
      if (p >= 0) f(k, p);
    });
  }
  Index inside(const Place& start, const Place& at) const {
    Place there{};
    for (int a = 0; a < window_axes; ++a) {
      there[a] = start[a] + at[a];
      if (there[a] < 0 || there[a] >= lengths[a]) return -1;
    }
    return place_in(lengths, there) * row;
  }
};

// Taps next to one another that a place meets: `count` rows of weights from the tap on, places of the window from `source`.
struct Stretch {
  Index tap, source, count;
};

// A convolution of changes. Windows that go in are aligned with its strides, so that all copies have the same sums.
template <class T>
struct ConvOfChanges {
  Windows windows;
  Place aligned;                  // size of a window that goes in
  Index taps = 0;                 // of all stretches
  std::vector<Stretch> stretches;
  std::vector<std::size_t> last;  // of the stretches of each place that comes out
  Buffer<T> w;                    // (taps, channels before, channels after), these in registers
};

// One copy on its way through the layers.
struct Copy {
  Index row, number;
  bool has_next;  // in its walk
  Place start{};
};

template <class Isa, class T>
class CopiesThroughChain {
 public:
  CopiesThroughChain(const CopiedChain<T>& chain, const Walks<T>& walks) : chain_(chain), walks_(walks) {
    for (std::size_t i = 0; i < chain.images.size(); ++i) {
      const Image<T>& image = chain.images[i];
      Level<T> level{image.channels, (image.channels + lanes<T> - 1) / lanes<T> * lanes<T>, 0, {}, {}, {}};
      std::copy_n(image.lengths, window_axes, level.lengths.begin());
      level.area = places_of(level.lengths);
      levels_.push_back(std::move(level));
      convs_.emplace_back();
      if (i == 0)
        std::copy_n(walks.size, window_axes, levels_[0].size.begin());
      else
        std::visit([&](const auto& layer) { prepare(layer, i - 1); }, chain.layers[i - 1]);
      while (static_cast<Index>(steps_.size()) < image.channels) steps_.push_back(static_cast<Index>(steps_.size()));
    }
  }

  // Whether the products of a copy are at most a share of those of a whole pass.
  bool pays(double most) const {
    const Level<T>& last = levels_.back();
    const double of_dense = static_cast<double>(last.channels * chain_.outputs);
    double here = of_dense * static_cast<double>(std::min(last.area, places_of(last.size)));
    double whole = of_dense * static_cast<double>(last.area);
    for (std::size_t i = 0; i < chain_.layers.size(); ++i)
      if (const auto* conv = std::get_if<CopiedConv<T>>(&chain_.layers[i])) {
        const Index* kernel = conv->windows.kernel;
        const double channels = static_cast<double>(levels_[i].channels * levels_[i + 1].channels);
        here += channels * static_cast<double>(convs_[i].taps);
        whole += channels * static_cast<double>(levels_[i + 1].area * kernel[0] * kernel[1] * kernel[2]);
      }
    return here <= most * whole;
  }

  bool run(T* z) {
    for (std::size_t i = 0; i < chain_.layers.size(); ++i) pack(i);
    for (std::size_t i = 0; i < levels_.size(); ++i) lay_out(i);
    const Index threads = machine::threads(), rows = std::clamp<Index>(walks_.count / threads, 1, most_rows);
    const Index blocks = (walks_.count + rows - 1) / rows, slots = std::min(threads, blocks);
    Index windows = 0, deltas = 0;
    for (std::size_t i = 0; i < levels_.size(); ++i) {
      windows += levels_[i].window();
      deltas = std::max(deltas, std::max<Index>(1, places_of(convs_[i].aligned)) * levels_[i].row);
    }
    const Index entries = levels_.back().window(), all = most_rows * (windows + deltas) + entries;
    Buffer<T> work(slots * all);
    Buffer<Index> places(slots * entries);
    std::atomic<Index> next{0};
    std::atomic<bool> is_finite{true};
    machine::parallel(slots, 1, [&](Index from, Index to) {
      for (Index slot = from; slot < to; ++slot) {
        T* mine = work.data() + slot * all;
        std::fill_n(mine, all, T(0));  // lanes that no channel fills
        T* of_deltas = mine + most_rows * windows;
        const Scratch scratch{mine, of_deltas, of_deltas + most_rows * deltas, places.data() + slot * entries};
        for (Index block; (block = next++) < blocks && is_finite;)
          if (!run(block * rows, std::min(walks_.count, (block + 1) * rows), scratch, z)) is_finite = false;
      }
    });
    return is_finite;
  }

 private:
  struct Scratch {
    T *windows, *deltas, *by;
    Index* places;
  };

  // ---- before the first copy ----

  void prepare(const CopiedConv<T>& conv, std::size_t i) {
    const Windows& w = conv.windows;
    const Level<T>& in = levels_[i];
    Level<T>& out = levels_[i + 1];
    ConvOfChanges<T>& made = convs_[i];
    made.windows = w;
    Place kernel{}, reach{};
    for (int a = 0; a < window_axes; ++a) {
      kernel[a] = w.kernel[a];
      reach[a] = (w.kernel[a] - 1) * w.dilation[a] / w.stride[a];
      made.aligned[a] = in.size[a] + w.stride[a] - 1;
      out.size[a] = (made.aligned[a] - 1) / w.stride[a] + reach[a] + 1;
    }
    for_each_place(out.size, [&](Index, const Place& to) {
      Stretch so_far{0, 0, 0};
      for_each_place(kernel, [&](Index tap, const Place& at) {
        Place from{};
        bool is_met = true;
        for (int a = 0; a < window_axes; ++a) {
          from[a] = (to[a] - reach[a]) * w.stride[a] + at[a] * w.dilation[a];
          is_met &= from[a] >= 0 && from[a] < made.aligned[a];
        }
        if (!is_met) return;
        const Index source = place_in(made.aligned, from);
        if (so_far.count > 0 && at[2] > 0 && so_far.tap + so_far.count == tap) {
          ++so_far.count;
          return;
        }
        if (so_far.count > 0) made.stretches.push_back(so_far);
        so_far = {tap, source, 1};
      });
      if (so_far.count > 0) made.stretches.push_back(so_far);
      made.last.push_back(made.stretches.size());
    });
    for (const Stretch& stretch : made.stretches) made.taps += stretch.count;
  }

  void prepare(const CopiedMaxPool& pool, std::size_t i) {
    const Windows& w = pool.windows;
    for (int a = 0; a < window_axes; ++a)
      levels_[i + 1].size[a] = (levels_[i].size[a] - 1 + (w.kernel[a] - 1) * w.dilation[a]) / w.stride[a] + 1;
  }

  void prepare(const AnyActivation<T>&, std::size_t i) { levels_[i + 1].size = levels_[i].size; }

  // The weights of convolutions with the channels of a tap next to one another.
  void pack(std::size_t i) {
    const auto* conv = std::get_if<CopiedConv<T>>(&chain_.layers[i]);
    if (!conv) return;
    const Level<T>&in = levels_[i], &out = levels_[i + 1];
    const Index taps = conv->windows.kernel[0] * conv->windows.kernel[1] * conv->windows.kernel[2];
    convs_[i].w = Buffer<T>(taps * in.channels * out.row);
    T* w = convs_[i].w.data();
    std::fill_n(w, convs_[i].w.size(), T(0));
    for (Index o = 0; o < out.channels; ++o)
      for (Index c = 0; c < in.channels; ++c)
        for (Index tap = 0; tap < taps; ++tap) w[(tap * in.channels + c) * out.row + o] = conv->w[(o * in.channels + c) * taps + tap];
  }

  // The values of the samples with channels next to one another.
  void lay_out(std::size_t i) {
    Level<T>& level = levels_[i];
    const T* from = chain_.images[i].values;
    level.values = Buffer<T>(chain_.samples * level.area * level.row);
    const Index at_once = 64;  // places
    const Index parts = (level.area + at_once - 1) / at_once;
    machine::parallel(chain_.samples * parts, std::max<Index>(1, (1 << 14) / (at_once * level.row)), [&](Index begin, Index end) {
      for (Index part = begin; part < end; ++part) {
        const Index n = part / parts, first = part % parts * at_once, places = std::min(level.area - first, at_once);
        T* to = level.values.data() + (n * level.area + first) * level.row;
        machine::turn(level.channels, places, from + n * level.channels * level.area + first, level.area, to, level.row);
        for (Index p = 0; p < places; ++p) std::fill(to + p * level.row + level.channels, to + (p + 1) * level.row, T(0));
      }
    });
  }

  // ---- copies ----

  // All copies of some walks, step by step; false where a change is not finite.
  bool run(Index from, Index to, const Scratch& scratch, T* z) const {
    for (Index step = 0;; ++step) {
      Copy copies[most_rows];
      Index count = 0;
      for (Index k = from; k < to; ++k) {
        const Index number = walks_.first[k] + step, left = walks_.first[k + 1] - number;
        if (left <= 0) continue;
        copies[count] = {walks_.rows[k], number, left > 1, {}};
        std::copy_n(walks_.start + window_axes * number, window_axes, copies[count].start.begin());
        T* out = z + number * chain_.outputs;
        std::copy_n(step ? out - chain_.outputs : chain_.z + walks_.rows[k] * chain_.outputs, chain_.outputs, out);
        ++count;
      }
      if (count == 0) return true;
      if (!run(copies, count, scratch, z)) return false;
    }
  }

  bool run(Copy* copies, Index count, const Scratch& scratch, T* z) const {
    const Level<T>& first = levels_[0];
    const Index places = places_of(first.size);
    T* values = scratch.windows;
    for (Index r = 0; r < count; ++r)
      for (Index c = 0; c < first.channels; ++c)
        for (Index k = 0; k < places; ++k)
          values[(r * places + k) * first.row + c] = walks_.values[(copies[r].number * first.channels + c) * places + k];
    for (std::size_t i = 0; i < chain_.layers.size(); ++i) {
      T* out = values + most_rows * levels_[i].window();
      Copy before[most_rows];
      std::copy_n(copies, count, before);
      const auto through = [&](const auto& layer) { return pass(layer, i, copies, count, values, out, scratch.deltas); };
      if (!std::visit(through, chain_.layers[i])) return false;
      keep(i, before, count, values);
      values = out;
    }
    const bool is_finite = add_to_dense(copies, count, values, scratch, z);
    keep(levels_.size() - 1, copies, count, values);
    return is_finite;
  }

  // The next copy of a walk differs from this one.
  void keep(std::size_t i, const Copy* copies, Index count, const T* values) const {
    const Level<T>& level = levels_[i];
    for (Index r = 0; r < count; ++r) {
      if (!copies[r].has_next) continue;
      T* sample = level.values.data() + copies[r].row * level.area * level.row;
      level.for_each_inside(copies[r].start, [&](Index k, Index p) {
        std::copy_n(values + r * level.window() + k * level.row, level.row, sample + p);
      });
    }
  }

  bool pass(const CopiedConv<T>&, std::size_t i, Copy* copies, Index count, const T* values, T* sums, T* deltas) const {
    const Level<T>&in = levels_[i], &out = levels_[i + 1];
    const ConvOfChanges<T>& conv = convs_[i];
    const Windows& w = conv.windows;
    const Index apart = places_of(conv.aligned) * in.row;
    std::fill_n(deltas, count * apart, T(0));
    bool is_finite = true;
    for (Index r = 0; r < count; ++r) {
      Place& start = copies[r].start;
      Place shift{}, next{};
      for (int a = 0; a < window_axes; ++a) {
        const Index first = below(start[a] + w.before[a], w.stride[a]);
        shift[a] = start[a] + w.before[a] - first * w.stride[a];
        next[a] = first - (w.kernel[a] - 1) * w.dilation[a] / w.stride[a];
      }
      const T* sample = in.values.data() + copies[r].row * in.area * in.row;
      for_each_place(in.size, [&](Index k, const Place& at) {
        const Index p = in.inside(start, at);
        if (p < 0) return;
        T* delta = deltas + r * apart + place_in(conv.aligned, {at[0] + shift[0], at[1] + shift[1], at[2] + shift[2]}) * in.row;
        is_finite &= subtract(values + r * in.window() + k * in.row, sample + p, in.channels, delta);
      });
      start = next;
    }
    if (!is_finite) return false;
    add_up(i, count, deltas, sums);
    for (Index r = 0; r < count; ++r) {
      const T* sample = out.values.data() + copies[r].row * out.area * out.row;
      out.for_each_inside(copies[r].start, [&](Index k, Index p) {
        T* sum = sums + r * out.window() + k * out.row;
        for (Index c = 0; c < out.row; ++c) sum[c] += sample[p + c];
      });
    }
    return true;
  }

  // d = v - base; false where one of them is not finite
  static bool subtract(const T* v, const T* base, Index count, T* d) {
    int odd = 0;
    for (Index c = 0; c < count; ++c) {
      d[c] = v[c] - base[c];
      odd |= !(d[c] - d[c] == 0);
    }
    return odd == 0;
  }

  // The sums of a convolution over the changes that go in.
  void add_up(std::size_t i, Index count, const T* deltas, T* sums) const {
    const Level<T>&in = levels_[i], &out = levels_[i + 1];
    const ConvOfChanges<T>& conv = convs_[i];
    const Index apart = places_of(conv.aligned) * in.row, registers = out.row / lanes<T>;
    const Index parts = (registers + machine::across - 1) / machine::across, each = (registers + parts - 1) / parts;
    machine::count_product(2 * count * conv.taps * in.channels * out.channels);
    std::size_t s = 0;
    for (Index q = 0; q < places_of(out.size); ++q) {
      const std::size_t first = s, last = conv.last[static_cast<std::size_t>(q)];
      for (Index from = 0; from < registers; from += each)
        for (Index row = 0, rows; row < count; row += rows) {
          rows = machine::rows_at_once(count - row);
          T* sum = sums + row * out.window() + q * out.row + from * lanes<T>;
          for (s = first; s < last; ++s) {
            const Stretch& met = conv.stretches[s];
            multiply<T>(rows, std::min(each, registers - from) * lanes<T>,
                        {deltas + row * apart + met.source * in.row, apart, met.count, conv.windows.dilation[2] * in.row, in.channels,
                         steps_.data(), steps_.data(), in.channels, 0},
                        conv.w.data() + met.tap * in.channels * out.row + from * lanes<T>, out.row, sum, out.window(), s > first);
          }
          if (first == last)
            for (Index r = 0; r < rows; ++r) std::fill_n(sum + r * out.window(), std::min(each, registers - from) * lanes<T>, T(0));
        }
      s = last;
    }
  }

  bool pass(const AnyActivation<T>& f, std::size_t i, Copy*, Index count, const T* z, T* a, T*) const {
    for_isa::activation_forward(Isa{}, ActivationOf<T>{1, 1, count * levels_[i].window(), f}, z, a);
    return true;
  }

  bool pass(const CopiedMaxPool& pool, std::size_t i, Copy* copies, Index count, const T* values, T* y, T*) const {
    const Level<T>&in = levels_[i], &out = levels_[i + 1];
    const Windows& w = pool.windows;
    const Place kernel{w.kernel[0], w.kernel[1], w.kernel[2]};
    for (Index r = 0; r < count; ++r) {
      const Place start = copies[r].start;
      Place& first = copies[r].start;
      for (int a = 0; a < window_axes; ++a)
        first[a] = -below((w.kernel[a] - 1) * w.dilation[a] - w.before[a] - start[a], w.stride[a]);
      const T *sample = in.values.data() + copies[r].row * in.area * in.row, *mine = values + r * in.window();
      for_each_place(out.size, [&](Index q, const Place& at) {
        if (out.inside(first, at) < 0) return;
        T* most = y + r * out.window() + q * out.row;
        std::fill_n(most, out.row, -std::numeric_limits<T>::infinity());
        for_each_place(kernel, [&](Index, const Place& tap) {
          Place seen{}, here{};  // in the sample, and in the window
          bool is_here = true;
          for (int a = 0; a < window_axes; ++a) {
            seen[a] = (first[a] + at[a]) * w.stride[a] + tap[a] * w.dilation[a] - w.before[a];
            here[a] = seen[a] - start[a];
            is_here &= here[a] >= 0 && here[a] < in.size[a];
          }
          const Index p = in.inside({0, 0, 0}, seen);
          if (p < 0) return;
          const T* v = is_here ? mine + place_in(in.size, here) * in.row : sample + p;
          for (Index c = 0; c < out.row; ++c) most[c] = math::pool_choice(v[c], most[c], v[c], most[c]);
        });
      });
    }
    return true;
  }

  // z += Δx W of what the copies changed.
  bool add_to_dense(const Copy* copies, Index count, const T* values, const Scratch& scratch, T* z) const {
    const Level<T>& in = levels_.back();
    bool is_finite = true;
    for (Index r = 0; r < count; ++r) {
      const T* sample = in.values.data() + copies[r].row * in.area * in.row;
      Index found = 0;
      in.for_each_inside(copies[r].start, [&](Index k, Index p) {
        T* by = scratch.deltas;
        is_finite &= subtract(values + r * in.window() + k * in.row, sample + p, in.channels, by);
        Index place = p / in.row;
        for (Index c = 0; c < in.channels; ++c, place += in.area) {  // without a branch, which nobody could foretell
          scratch.places[found] = place;
          scratch.by[found] = by[c];
          found += by[c] != 0;
        }
      });
      for_isa::dense_update(Isa{}, Index{1}, found, chain_.outputs, scratch.places, scratch.by, chain_.w,
                            z + copies[r].number * chain_.outputs);
    }
    return is_finite;
  }

  const CopiedChain<T>& chain_;
  const Walks<T>& walks_;
  std::vector<Level<T>> levels_;         // of what is before and after each layer
  std::vector<ConvOfChanges<T>> convs_;  // of each layer, empty where it is another
  std::vector<Index> steps_;             // 0, 1, … of channels
};

}  // namespace

template <class Isa, class T>
void for_isa::difference_bounds(Isa, const ImageSize& of, const T* images, const Index* rows, const T* others, Index* low,
                                Index* high) {
  const Index length = of.lengths[2];
  machine::parallel(of.count, std::max<Index>(1, (1 << 15) / std::max<Index>(1, of.each())), [&](Index from, Index to) {
    for (Index k = from; k < to; ++k) {
      const T *a = images + k * of.each(), *b = others + rows[k] * of.each();
      Index first[3] = {of.lengths[0], of.lengths[1], length}, last[3] = {0, 0, 0};
      for (Index row = 0; row < of.channels * of.lengths[0] * of.lengths[1]; ++row, a += length, b += length) {
        int differs = 0;
        for (Index l = 0; l < length; ++l) differs |= a[l] != b[l];
        if (!differs) continue;
        Index l = 0, r = length;
        while (!(a[l] != b[l])) ++l;
        while (!(a[r - 1] != b[r - 1])) --r;
        const Index begin[3] = {row / of.lengths[1] % of.lengths[0], row % of.lengths[1], l};
        for (int axis = 0; axis < 3; ++axis) {
          first[axis] = std::min(first[axis], begin[axis]);
          last[axis] = std::max(last[axis], axis < 2 ? begin[axis] + 1 : r);
        }
      }
      for (int axis = 0; axis < 3; ++axis) {
        low[3 * k + axis] = last[axis] ? first[axis] : 0;
        high[3 * k + axis] = last[axis];
      }
    }
  });
}

template <class Isa, class T>
void for_isa::turned(Isa, Index rows, Index columns, const T* from, T* to) {
  const Index grain = (std::max<Index>(1, (1 << 15) / std::max<Index>(1, rows)) + 63) / 64 * 64;
  machine::parallel(columns, grain, [&](Index begin, Index end) {
    machine::turn(rows, end - begin, from + begin, columns, to + begin * rows, rows);
  });
}

template <class Isa, class T>
void for_isa::copied_forward(Isa, const CopiedChain<T>& chain, const Walks<T>& walks, double most, T* z, bool& answered) {
  CopiesThroughChain<Isa, T> copies(chain, walks);
  answered = copies.pays(most) && copies.run(z);
}

#define RELPROP_INSTANTIATE(T)                                                                                               \
  template void for_isa::difference_bounds(machine::RELPROP_ISA, const ImageSize&, const T*, const Index*, const T*, Index*, \
                                           Index*);                                                                          \
  template void for_isa::turned(machine::RELPROP_ISA, Index, Index, const T*, T*);                                           \
  template void for_isa::copied_forward(machine::RELPROP_ISA, const CopiedChain<T>&, const Walks<T>&, double, T*, bool&);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cpu
