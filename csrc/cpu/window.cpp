#include "window.h"

#include <atomic>
#include <cstring>

#include "machine/blas.h"

namespace relprop::cpu {
namespace {

// ---- the sources of a place ----

// Along one axis: where place p finds what tap k brings it, at p * taps + k; -1 where that is outside.
struct AxisSources {
  Index from, to, taps;
  std::vector<Index> at;

  AxisSources(const Windows& w, Way way, int a)
      : from(way == Way::look ? w.lengths[a] : w.counts[a]), to(way == Way::look ? w.counts[a] : w.lengths[a]), taps(w.kernel[a]) {
    at.reserve(static_cast<std::size_t>(to * taps));
    for (Index p = 0; p < to; ++p)
      for (Index k = 0; k < taps; ++k) {
        const Index step = way == Way::look ? 1 : w.stride[a], tap = k * w.dilation[a] - w.before[a];
        const Index source = way == Way::look ? p * w.stride[a] + tap : p - tap;
        at.push_back(source >= 0 && source % step == 0 && source / step < from ? source / step : -1);
      }
  }
  Index of(Index p, Index k) const { return at[static_cast<std::size_t>(p * taps + k)]; }
  bool is_inside(Index p, Index k) const { return of(p, k) >= 0; }
  bool is_like_the_last(Index p) const {
    for (Index k = 0; k < taps; ++k)
      if (p == 0 || is_inside(p, k) != is_inside(p - 1, k)) return false;
    return true;
  }
};

struct Tap {
  Index at;  // in the kernel
  Index offset[window_axes];
};

// Places that are `apart` from one another, whose sources are evenly apart too: place first + i · apart finds its
// sources at i · step + offset, tap by tap.
struct Phase {
  Index first[window_axes], apart[window_axes], counts[window_axes], to[window_axes];
  Index from[window_axes], step[window_axes];
  std::vector<Tap> taps;

  Index places() const { return product_of(counts); }
  Index depth() const { return static_cast<Index>(taps.size()); }
};

// What windows see is one phase; back to an image there is one for each place within a stride.
std::vector<Phase> phases_of(const WindowSize& size, Way way) {
  const Windows& w = size.windows;
  const bool look = way == Way::look;
  std::vector<Phase> phases;
  const Index of[window_axes] = {look ? 1 : w.stride[0], look ? 1 : w.stride[1], look ? 1 : w.stride[2]};
  for (Index f = 0; f < product_of(of); ++f) {
    Phase phase{};
    const Index first[window_axes] = {f / of[2] / of[1], f / of[2] % of[1], f % of[2]};
    bool is_plain = true;
    for (int a = 0; a < window_axes; ++a) {
      phase.from[a] = look ? w.lengths[a] : w.counts[a];
      phase.to[a] = look ? w.counts[a] : w.lengths[a];
      phase.first[a] = first[a];
      phase.apart[a] = of[a];
      phase.counts[a] = (phase.to[a] - first[a] + of[a] - 1) / of[a];
      phase.step[a] = look ? w.stride[a] : 1;
      is_plain &= w.kernel[a] == 1 && w.stride[a] == 1 && w.before[a] == 0 && phase.from[a] == phase.to[a];
    }
    if (is_plain)  // no window is more than its place: all places are one row
      for (Index* lengths : {phase.from, phase.to, phase.counts}) {
        lengths[2] = product_of(lengths);
        lengths[0] = lengths[1] = 1;
      }
    for (Index k = 0; k < product_of(w.kernel); ++k) {
      Tap tap{k, {}};
      const Index tap_of[window_axes] = {k / w.kernel[2] / w.kernel[1], k / w.kernel[2] % w.kernel[1], k % w.kernel[2]};
      bool is_met = true;
      for (int a = 0; a < window_axes; ++a) {
        const Index reach = tap_of[a] * w.dilation[a] - w.before[a];
        is_met &= look || (first[a] - reach) % w.stride[a] == 0;
        tap.offset[a] = look ? reach : (first[a] - reach) / w.stride[a];
      }
      if (is_met) phase.taps.push_back(tap);
    }
    if (phase.places() > 0) phases.push_back(phase);
  }
  return phases;
}

// ---- the product of a panel of weights and a panel of sources ----

// A register holds `lanes` numbers; the product of `most_rows` rows of weights and `across` registers of places
// stays in registers.
#if defined(__AVX512F__)
constexpr std::size_t register_bytes = 64;
constexpr int most_rows = 8;
#elif defined(__AVX__)
constexpr std::size_t register_bytes = 32;
constexpr int most_rows = 4;
#elif defined(__aarch64__)
constexpr std::size_t register_bytes = 16;
constexpr int most_rows = 8;
#else
constexpr std::size_t register_bytes = 16;
constexpr int most_rows = 4;
#endif
constexpr int across = 3;

#ifdef __GNUC__
template <class T>
struct Register {
  typedef T type __attribute__((vector_size(register_bytes)));
};
#else
template <class T>
struct Register {
  using type = T;
};
#endif

template <class T>
constexpr Index lanes = sizeof(typename Register<T>::type) / sizeof(T);
template <class T>
constexpr Index width = across * lanes<T>;  // places of a product

// Element (i, k) of a panel of weights, k = outer · inners + inner, is data[i · row + outer · outer_step + inner].
template <class T>
struct Weights {
  const T* data;
  Index row, outers, outer_step, inners;
};

// sums (rows, registers) (+)= weights (rows, k) · sources (k, registers); rows of sums and sources lie `stride` apart
template <class T, int rows, int registers>
void multiply(const Weights<T>& weights, const T* sources, T* sums, Index stride, bool add) {
  using Vector = typename Register<T>::type;
  Vector sum[rows][registers];
  for (int i = 0; i < rows; ++i)
    for (int v = 0; v < registers; ++v) {
      sum[i][v] = Vector{};
      if (add) std::memcpy(&sum[i][v], sums + i * stride + v * lanes<T>, sizeof(Vector));
    }
  const Index row = weights.row, inners = weights.inners;
  for (Index outer = 0; outer < weights.outers; ++outer) {
    const T* w = weights.data + outer * weights.outer_step;
    for (Index inner = 0; inner < inners; ++inner, sources += stride) {
      Vector seen[registers];
      for (int v = 0; v < registers; ++v) std::memcpy(&seen[v], sources + v * lanes<T>, sizeof(Vector));
      for (int i = 0; i < rows; ++i)
        for (int v = 0; v < registers; ++v) sum[i][v] += w[i * row + inner] * seen[v];
    }
  }
  for (int i = 0; i < rows; ++i)
    for (int v = 0; v < registers; ++v) std::memcpy(sums + i * stride + v * lanes<T>, &sum[i][v], sizeof(Vector));
}

template <class T, int rows>
void multiply(Index registers, const Weights<T>& weights, const T* sources, T* sums, Index stride, bool add) {
  if (registers == 1) return multiply<T, rows, 1>(weights, sources, sums, stride, add);
  if (registers == 2) return multiply<T, rows, 2>(weights, sources, sums, stride, add);
  multiply<T, rows, 3>(weights, sources, sums, stride, add);
}

template <class T>
void multiply(Index rows, Index registers, const Weights<T>& weights, const T* sources, T* sums, Index stride, bool add) {
  if constexpr (most_rows == 8)
    if (rows == 8) return multiply<T, 8>(registers, weights, sources, sums, stride, add);
  if (rows == 4) return multiply<T, 4>(registers, weights, sources, sums, stride, add);
  if (rows == 3) return multiply<T, 3>(registers, weights, sources, sums, stride, add);
  if (rows == 2) return multiply<T, 2>(registers, weights, sources, sums, stride, add);
  multiply<T, 1>(registers, weights, sources, sums, stride, add);
}

// The most rows that one product takes when `left` are left.
Index rows_at_once(Index left) {
  return left >= most_rows ? most_rows : left >= 4 ? 4 : left;
}

// ---- the schedule ----

constexpr Index products = 5;          // next to one another in one job
constexpr Index depth_at_once = 288;   // terms of a sum whose sources are gathered at one time, for the second cache
constexpr Index rows_that_pay = 256;   // for gathering sources once more
constexpr Index jobs_per_thread = 4;   // so that no thread waits long for another
constexpr Index most_entries = 512;    // of a table

// Channels [channel, channel + channels) of a group's start, and of each of them taps [tap, tap + taps).
struct Block {
  Index channel, channels, tap, taps;
  Index depth() const { return channels * taps; }
};

// Places at, at + 1, … of a job: of one sample, next to one another along the last axis.
struct Stretch {
  Index at, count, sample, place[window_axes];
};

// What one tap brings to one stretch: the first of its `count` places gets it at `to`; those in [low, high) have a
// source, the j-th at offset + j · step of the channel, of a sample that begins at `sample`.
struct Entry {
  Index to, count, low, high, sample, offset;
};

template <class T>
class WindowSums {
  static constexpr Index most_places = products * width<T>;

 public:
  WindowSums(const WindowSize& size, Index samples, Way way, const T* w, const std::vector<Summand<T>>& summands,
             const Constants<T>& constants, const std::function<void(const Run<T>&)>& finish)
      : way_(way), w_(w), summands_(summands), constants_(constants), finish_(finish), start_(start_of(size, way)),
        end_(end_of(size, way)), samples_(samples), groups_(size.groups), kernel_(product_of(size.windows.kernel)),
        phases_(phases_of(size, way)) {}

  void run() const {
    Index units = 0;
    std::vector<Index> last_job;
    for (const Phase& phase : phases_) units += tiles(phase) * groups_;
    if (units == 0 || end_.channels == 0) return;
    const Index rows = end_.channels / groups_, chunks = chunks_of(rows, units);
    const Index chunk_rows = (rows + chunks - 1) / chunks;
    Index jobs = 0, deepest = 0;
    for (const Phase& phase : phases_) {
      last_job.push_back(jobs += tiles(phase) * groups_ * chunks);
      deepest = std::max(deepest, block_at(phase, 0).depth());
      for (std::size_t s = 0; s < summands_.size(); ++s)
        if (depth(phase) > 0) machine::count_product(2 * end_.channels * depth(phase) * samples_ * phase.places());
    }
    const Index slots = std::min<Index>(machine::threads(), jobs);
    const Index of_sources = aligned(deepest * most_places), of_weights = aligned(deepest * most_rows);
    const Index of_sums = aligned(chunk_rows * most_places), all = of_sources + of_weights + of_sums;
    const Buffer<T> work(slots * all);
    std::atomic<Index> next{0};
    machine::parallel(slots, 1, [&](Index begin, Index end) {
      for (Index slot = begin; slot < end; ++slot) {
        T* sources = work.data() + slot * all;
        for (Index job; (job = next++) < jobs;) {
          std::size_t p = 0;
          while (job >= last_job[p]) ++p;
          const Phase& phase = phases_[p];
          const Index at = job - (p ? last_job[p - 1] : 0), unit = at / chunks, row = at % chunks * chunk_rows;
          run(phase, unit / groups_, unit % groups_, row, std::min(chunk_rows, rows - row), sources, sources + of_sources,
              sources + of_sources + of_weights);
        }
      }
    });
  }

 private:
  static Index aligned(Index count) { return (count + 31) / 32 * 32; }
  Index tiles(const Phase& phase) const { return (samples_ * phase.places() + most_places - 1) / most_places; }
  Index depth(const Phase& phase) const { return start_.channels / groups_ * phase.depth(); }

  // Rows are shared out where there are too few places to share out.
  Index chunks_of(Index rows, Index units) const {
    const Index threads = machine::threads(), wanted = (jobs_per_thread * threads + units - 1) / units;
    Index chunks = std::max<Index>(1, std::min(wanted, rows / rows_that_pay));
    if (units * chunks < threads) chunks = std::min((threads + units - 1) / units, (rows + most_rows - 1) / most_rows);
    const Index each = (rows + chunks - 1) / chunks, whole = (each + most_rows - 1) / most_rows * most_rows;
    return (rows + whole - 1) / whole;
  }

  // The block of terms that begins with term k; of depth 0 where there are no terms.
  Block block_at(const Phase& phase, Index k) const {
    const Index taps = phase.depth(), channels = start_.channels / groups_;
    if (taps == 0) return {0, 0, 0, 0};
    if (taps > depth_at_once) return {k / taps, 1, k % taps, std::min(depth_at_once, taps - k % taps)};
    return {k / taps, std::min(depth_at_once / taps, channels - k / taps), 0, taps};
  }

  // Rows [row, row + rows) of a group, for the places of a tile.
  void run(const Phase& phase, Index tile, Index group, Index row, Index rows, T* sources, T* panel, T* sums) const {
    const Index begin = tile * most_places, places = std::min(most_places, samples_ * phase.places() - begin);
    Stretch stretches[most_places];
    const Index count = stretches_of(phase, begin, places, stretches);
    const Index all = depth(phase);
    bool add = false;
    if (all == 0 || summands_.empty()) {
      std::fill_n(sums, rows * most_places, T(0));
      finish(phase, group, row, rows, stretches, count, sums);
    }
    for (std::size_t s = 0; s < summands_.size(); ++s)
      for (Index k = 0; k < all;) {
        const Block block = block_at(phase, k);
        k += block.depth();
        gather(phase, summands_[s], group, block, stretches, count, places, sources);
        const bool is_last = k == all && s + 1 == summands_.size();
        for (Index at = 0, taken; at < rows; at += taken) {
          taken = rows_at_once(rows - at);
          const Weights<T> weights = form(phase, summands_[s].weight, group, row + at, taken, block, panel);
          for (Index first = 0; first < places; first += width<T>) {
            const Index registers = std::min<Index>(across, (places - first + lanes<T> - 1) / lanes<T>);
            multiply(taken, registers, weights, sources + first, sums + at * most_places + first, most_places, add);
          }
          if (is_last) finish(phase, group, row + at, taken, stretches, count, sums + at * most_places);
        }
        add = true;
      }
  }

  Index stretches_of(const Phase& phase, Index begin, Index places, Stretch* out) const {
    Index count = 0;
    for (Index at = 0; at < places; ++count) {
      Index i = begin + at;
      Stretch& one = out[count];
      for (int a = window_axes - 1; a >= 0; i /= phase.counts[a--]) one.place[a] = i % phase.counts[a];
      one.sample = i;
      one.at = at;
      one.count = std::min(places - at, phase.counts[2] - one.place[2]);
      at += one.count;
    }
    return count;
  }

  void finish(const Phase& phase, Index group, Index row, Index rows, const Stretch* stretches, Index count, const T* sums) const {
    for (Index i = 0; i < rows; ++i)
      for (const Stretch* one = stretches; one < stretches + count; ++one) {
        Index first = 0;
        for (int a = 0; a < window_axes; ++a) first = first * phase.to[a] + phase.first[a] + one->place[a] * phase.apart[a];
        finish_({one->sample, group * (end_.channels / groups_) + row + i, first, phase.apart[2], one->count,
                 sums + i * most_places + one->at});
      }
  }

  // Rows (terms of the block, most_places) of what the taps bring, 0 where they are outside.
  void gather(const Phase& phase, const Summand<T>& summand, Index group, const Block& block, const Stretch* stretches, Index count,
              Index places, T* out) const {
    const Index end = (places + lanes<T> - 1) / lanes<T> * lanes<T>;  // what the product reads
    for (Index k = 0; k < block.depth() && end > places; ++k) std::fill(out + k * most_places + places, out + k * most_places + end, T(0));
    const Index taps = std::max<Index>(1, most_entries / count);
    for (Index t = 0; t < block.taps; t += taps) {
      Entry entries[std::max(most_entries, most_places)];
      Index filled = 0;
      for (Index k = t; k < std::min(block.taps, t + taps); ++k)
        for (Index j = 0; j < count; ++j)
          entries[filled++] = entry(phase, phase.taps[static_cast<std::size_t>(block.tap + k)], k, stretches[j]);
      with_factor(summand.input, [&](auto constant) {
        for (Index c = 0; c < block.channels; ++c)
          copy<decltype(constant)::value>(summand.v, (group * (start_.channels / groups_) + block.channel + c) * start_.area, phase.step[2],
                                          entries, filled, out + c * block.taps * most_places);
      });
    }
  }

  Entry entry(const Phase& phase, const Tap& tap, Index term, const Stretch& one) const {
    Entry made{term * most_places + one.at, one.count, 0, 0, one.sample * start_.elements(), 0};
    for (int a = 0; a + 1 < window_axes; ++a) {
      const Index source = one.place[a] * phase.step[a] + tap.offset[a];
      if (source < 0 || source >= phase.from[a]) return made;
      made.offset = (made.offset + source) * phase.from[a + 1];
    }
    const Index step = phase.step[2], source = one.place[2] * step + tap.offset[2];
    made.offset += source;
    if (source < 0) made.low = std::min(made.count, (-source + step - 1) / step);
    made.high = source >= phase.from[2] ? 0 : std::min(made.count, (phase.from[2] - source + step - 1) / step);
    made.high = std::max(made.low, made.high);
    return made;
  }

  template <Factor factor>
  void copy(const T* v, Index channel, Index step, const Entry* entries, Index count, T* out) const {
    for (const Entry* e = entries; e < entries + count; ++e) {
      T* to = out + e->to;
      const Index place = channel + e->offset, low = e->low, high = e->high;
      const T* from = v + e->sample + place;
      for (Index j = 0; j < low; ++j) to[j] = T(0);
      if (step == 1)
        for (Index j = low; j < high; ++j) to[j] = input_part<factor>(constants_, from[j], place + j);
      else
        for (Index j = low; j < high; ++j) to[j] = input_part<factor>(constants_, from[j * step], place + j * step);
      for (Index j = high; j < e->count; ++j) to[j] = T(0);
    }
  }

  // The weights' part between rows and the terms of a block: where they lie, or in a panel that stays in the first cache.
  Weights<T> form(const Phase& phase, Factor factor, Index group, Index row, Index rows, const Block& block, T* panel) const {
    const Index channels = start_.channels / groups_, all_rows = end_.channels / groups_, depth = block.depth();
    if (way_ == Way::look) {
      const T* from = w_ + ((group * all_rows + row) * channels + block.channel) * kernel_ + block.tap;
      if (factor == Factor::plain) return {from, channels * kernel_, 1, 0, depth};
      for (Index i = 0; i < rows; ++i)
        form_weights(factor, constants_.gamma, from + i * channels * kernel_, depth, panel + i * depth);
      return {panel, depth, 1, 0, depth};
    }
    const T* from = w_ + ((group * channels + block.channel) * all_rows + row) * kernel_;
    const Index together = rows * block.taps;
    if (factor == Factor::plain && block.taps == kernel_) return {from, kernel_, block.channels, all_rows * kernel_, kernel_};
    if (block.taps == kernel_) {
      for (Index c = 0; c < block.channels; ++c)
        form_weights(factor, constants_.gamma, from + c * all_rows * kernel_, together, panel + c * together);
    } else {
      const Tap* taps = phase.taps.data() + block.tap;
      T* to = panel;
      for (Index c = 0; c < block.channels; ++c)
        for (Index i = 0; i < rows; ++i)
          for (Index t = 0; t < block.taps; ++t) *to++ = from[(c * all_rows + i) * kernel_ + taps[t].at];
      form_weights(factor, constants_.gamma, panel, block.channels * together, panel);
    }
    return {panel, block.taps, block.channels, together, block.taps};
  }

  const Way way_;
  const T* const w_;
  const std::vector<Summand<T>>& summands_;
  const Constants<T>& constants_;
  const std::function<void(const Run<T>&)>& finish_;
  const End start_, end_;
  const Index samples_, groups_, kernel_;
  const std::vector<Phase> phases_;
};

Index grain(Index length) { return std::max<Index>(1, (1 << 15) / std::max<Index>(1, length)); }

}  // namespace

template <class Isa, class T>
void window_sums(Isa, const WindowSize& size, Index samples, Way way, const T* w, const std::vector<Summand<T>>& summands,
                 const Constants<T>& constants, const std::function<void(const Run<T>&)>& finish) {
  WindowSums<T>(size, samples, way, w, summands, constants, finish).run();
}

template <class Isa, class T>
void window_sums_of_ones(Isa, const WindowSize& size, Way way, const T* w, Factor weight, const Constants<T>& constants, T* z) {
  const AxisSources axes[window_axes] = {{size.windows, way, 0}, {size.windows, way, 1}, {size.windows, way, 2}};
  const Index kernel = product_of(size.windows.kernel), last = size.windows.kernel[2], group = size.groups;
  const Index rows = end_of(size, way).channels, per_group = rows / group, terms = start_of(size, way).channels / group;
  const Index area = end_of(size, way).area;
  const Buffer<T> work(rows * (kernel + last));
  machine::parallel(rows, grain(area + terms * kernel), [&](Index begin, Index end) {
    for (Index row = begin; row < end; ++row) {
      T* of_tap = work.data() + row * (kernel + last);  // over the channels
      T* of_last = of_tap + kernel;                     // and over the taps of the other axes
      std::fill_n(of_tap, kernel, T(0));
      with_factor(weight, [&](auto constant) {
        for (Index c = 0; c < terms; ++c) {
          const Index pair = way == Way::look ? row * terms + c : (row / per_group * terms + c) * per_group + row % per_group;
          for (Index k = 0; k < kernel; ++k)
            of_tap[k] += math::apply(decltype(constant)::value, w[pair * kernel + k], constants.gamma);
        }
      });
      T* out = z + row * area;
      for (Index p0 = 0; p0 < axes[0].to; ++p0)
        for (Index p1 = 0; p1 < axes[1].to; ++p1, out += axes[2].to) {
          if (axes[1].is_like_the_last(p1)) {
            std::copy_n(out - axes[2].to, axes[2].to, out);
            continue;
          }
          if (axes[0].is_like_the_last(p0)) {
            std::copy_n(out - axes[1].to * axes[2].to, axes[2].to, out);
            continue;
          }
          std::fill_n(of_last, last, T(0));
          for (Index k0 = 0; k0 < axes[0].taps; ++k0)
            for (Index k1 = 0; k1 < axes[1].taps; ++k1)
              if (axes[0].is_inside(p0, k0) && axes[1].is_inside(p1, k1))
                for (Index k2 = 0; k2 < last; ++k2) of_last[k2] += of_tap[(k0 * axes[1].taps + k1) * last + k2];
          for (Index p2 = 0; p2 < axes[2].to; ++p2) {
            T sum(0);
            for (Index k2 = 0; k2 < last; ++k2)
              if (axes[2].is_inside(p2, k2)) sum += of_last[k2];
            out[p2] = sum;
          }
        }
    }
  });
}

template <class Isa, class T>
void window_box(Isa, const WindowSize& size, Index samples, Way way, const T* v, bool add, T* out) {
  const End start = start_of(size, way), end = end_of(size, way);
  const Index images = samples * size.groups, channels = start.channels / size.groups;
  Buffer<T> now(images * start.area);
  machine::parallel(images, grain(channels * start.area), [&](Index begin, Index last) {
    for (Index i = begin; i < last; ++i) {
      T* sum = now.data() + i * start.area;
      std::fill_n(sum, start.area, T(0));
      for (Index c = 0; c < channels; ++c)
        for (Index j = 0; j < start.area; ++j) sum[j] += v[(i * channels + c) * start.area + j];
    }
  });
  Index outer = 1;
  for (int a = 0; a < window_axes; ++a) {  // one axis after the other
    const AxisSources axis(size.windows, way, a);
    Index inner = 1;
    for (int later = a + 1; later < window_axes; ++later)
      inner *= (way == Way::look ? size.windows.lengths : size.windows.counts)[later];
    Buffer<T> next(images * outer * axis.to * inner);
    machine::parallel(images * outer, grain(axis.to * inner * axis.taps), [&](Index begin, Index last) {
      for (Index i = begin; i < last; ++i)
        for (Index p = 0; p < axis.to; ++p) {
          T* sum = next.data() + (i * axis.to + p) * inner;
          std::fill_n(sum, inner, T(0));
          for (Index k = 0; k < axis.taps; ++k)
            if (axis.is_inside(p, k))
              for (Index j = 0; j < inner; ++j) sum[j] += now.data()[(i * axis.from + axis.of(p, k)) * inner + j];
        }
    });
    now = std::move(next);
    outer *= axis.to;
  }
  for (Index j = 0; j < images * end.area; ++j) out[j] = now.data()[j] + (add ? out[j] : T(0));
}

#define RELPROP_INSTANTIATE(T)                                                                                                      \
  template void window_sums(machine::RELPROP_ISA, const WindowSize&, Index, Way, const T*, const std::vector<Summand<T>>&,          \
                            const Constants<T>&, const std::function<void(const Run<T>&)>&);                                        \
  template void window_sums_of_ones(machine::RELPROP_ISA, const WindowSize&, Way, const T*, Factor, const Constants<T>&, T*);       \
  template void window_box(machine::RELPROP_ISA, const WindowSize&, Index, Way, const T*, bool, T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cpu
