#include "window.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <utility>

#include "fold.h"
#include "machine/blas.h"
#include "machine/panel.h"
#include "machine/turn.h"

namespace relprop::cpu {
namespace {

using machine::Counted;
using machine::Each;
using machine::fetch;
using machine::lanes;
using machine::most_rows;
using machine::multiply;
using machine::read;
using machine::Register;
using machine::rows_at_once;
using machine::transpose;
using machine::Weights;
using machine::width;
using machine::write;

// Below so many multiplications the work is done sooner than another thread is awake.
constexpr Index worth_a_thread = Index(1) << 20;

Index grain(Index length) { return std::max<Index>(1, (1 << 15) / std::max<Index>(1, length)); }

// ---- the sources of a place ----

// Where place p of an axis finds what tap k brings it; -1 where that is outside.
Index source_of(const Windows& w, Way way, int a, Index p, Index k) {
  const Index step = way == Way::look ? 1 : w.stride[a], tap = k * w.dilation[a] - w.before[a];
  const Index source = way == Way::look ? p * w.stride[a] + tap : p - tap;
  return source >= 0 && source % step == 0 && source / step < (way == Way::look ? w.lengths[a] : w.counts[a]) ? source / step : -1;
}

// The sources along one axis, that of place p and tap k at p * taps + k.
struct AxisSources {
  Index from, to, taps;
  std::vector<Index> at;

  AxisSources(const Windows& w, Way way, int a)
      : from(way == Way::look ? w.lengths[a] : w.counts[a]), to(way == Way::look ? w.counts[a] : w.lengths[a]), taps(w.kernel[a]) {
    at.reserve(static_cast<std::size_t>(to * taps));
    for (Index p = 0; p < to; ++p)
      for (Index k = 0; k < taps; ++k) at.push_back(source_of(w, way, a, p, k));
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
  std::vector<Index> at;  // of the taps in the kernel

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
      if (!is_met) continue;
      phase.taps.push_back(tap);
      phase.at.push_back(k);
    }
    if (phase.places() > 0) phases.push_back(phase);
  }
  return phases;
}

// Phases with equally many places each way: the i-th places of all of them see the same part of the start. `taps` are those
// that any of them has, each offset once; phase p meets those at met[p]. Phases without taps are the last.
struct Bundle {
  std::vector<Phase> phases;
  std::vector<Tap> taps;
  std::vector<std::vector<Index>> met;

  const Phase& like() const { return phases[0]; }
  Index summed() const { return std::count_if(phases.begin(), phases.end(), [](const Phase& phase) { return phase.depth() > 0; }); }
  Index depth() const { return static_cast<Index>(taps.size()); }
};

std::vector<Bundle> bundles_of(const std::vector<Phase>& phases) {
  std::vector<Bundle> bundles;
  for (const Phase& phase : phases) {
    const auto fits = [&](const Bundle& one) { return std::equal(phase.counts, phase.counts + window_axes, one.like().counts); };
    auto bundle = std::find_if(bundles.begin(), bundles.end(), fits);
    if (bundle == bundles.end()) bundle = bundles.insert(bundle, Bundle{});
    bundle->phases.push_back(phase);
    bundle->taps.insert(bundle->taps.end(), phase.taps.begin(), phase.taps.end());
  }
  for (Bundle& bundle : bundles) {
    const bool is_one = bundle.phases.size() == 1;
    std::stable_partition(bundle.phases.begin(), bundle.phases.end(), [](const Phase& phase) { return phase.depth() > 0; });
    const auto after = [](const Tap& a, const Tap& b) {  // the order in which each phase has its own
      return std::lexicographical_compare(b.offset, b.offset + window_axes, a.offset, a.offset + window_axes);
    };
    const auto same = [&](const Tap& a, const Tap& b) { return !after(a, b) && !after(b, a); };
    if (!is_one) {
      std::sort(bundle.taps.begin(), bundle.taps.end(), after);
      bundle.taps.erase(std::unique(bundle.taps.begin(), bundle.taps.end(), same), bundle.taps.end());
    }
    for (const Phase& phase : bundle.phases) {
      std::vector<Index>& met = bundle.met.emplace_back();
      for (const Tap& tap : phase.taps)
        met.push_back(is_one ? static_cast<Index>(met.size())
                             : std::lower_bound(bundle.taps.begin(), bundle.taps.end(), tap, after) - bundle.taps.begin());
    }
  }
  return bundles;
}

// ---- the schedule ----

constexpr Index products = 5;          // next to one another in one job
constexpr Index depth_at_once = 288;   // terms of a sum whose sources are gathered at one time, for the second cache
constexpr Index depth_of_columns = 96;  // where weights of one tap are met across their rows: half of each line is for later
constexpr Index rows_that_pay = 256;   // for gathering sources once more
constexpr Index sums_of_phases = 512;  // rows of sums, of several phases, that stay in the second cache
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

// What is asked for: the arguments of window_sums, of samples [first, first + samples), and the places of some phases.
template <class T>
struct Question {
  const WindowSize& size;
  const Way way;
  const T* const w;
  const std::vector<Summand<T>>& summands;
  const Constants<T>& constants;
  const std::function<void(const Run<T>&)>& finish;
  Index first, samples;
  std::vector<Phase> phases;
};

template <class T>
class WindowSums {
  static constexpr Index most_places = products * width<T>;

 public:
  explicit WindowSums(const Question<T>& q)
      : way_(q.way), w_(q.w), summands_(q.summands), constants_(q.constants), finish_(q.finish), start_(start_of(q.size, q.way)),
        end_(end_of(q.size, q.way)), first_(q.first), samples_(q.samples), groups_(q.size.groups),
        kernel_(product_of(q.size.windows.kernel)), bundles_(bundles_of(q.phases)) {}

  void run() const {
    Index units = 0;
    std::vector<Index> last_job;
    Index most_phases = 0;
    for (const Bundle& bundle : bundles_) {
      units += tiles(bundle.like()) * groups_;
      most_phases = std::max(most_phases, bundle.summed());
    }
    if (units == 0 || end_.channels == 0) return;
    const Index rows = end_.channels / groups_, chunks = chunks_of(rows, units, most_phases);
    const Index chunk_rows = (rows + chunks - 1) / chunks;
    Index jobs = 0, deepest = 0, multiplications = 0;
    for (const Bundle& bundle : bundles_) {
      last_job.push_back(jobs += tiles(bundle.like()) * groups_ * chunks);
      deepest = std::max(deepest, block_at(bundle, 0).depth());
      for (const Phase& phase : bundle.phases)
        for (std::size_t s = 0; s < summands_.size(); ++s)
          if (phase.depth() > 0 && start_.channels > 0) {
            const Index here = end_.channels * (start_.channels / groups_) * phase.depth() * samples_ * phase.places();
            multiplications += here;
            machine::count_product(2 * here);
          }
    }
    const Index slots = std::min<Index>({machine::threads(), jobs, 1 + multiplications / worth_a_thread});
    const Index of_sources = aligned(deepest * most_places), of_weights = aligned(deepest * most_rows);
    const Index of_sums = aligned(most_phases * chunk_rows * most_places), all = of_sources + of_weights + of_sums;
    const Buffer<T> work(slots * all);
    std::atomic<Index> next{0};
    machine::parallel(slots, 1, [&](Index begin, Index end) {
      for (Index slot = begin; slot < end; ++slot) {
        T* sources = work.data() + slot * all;
        for (Index job; (job = next++) < jobs;) {
          std::size_t p = 0;
          while (job >= last_job[p]) ++p;
          const Index at = job - (p ? last_job[p - 1] : 0), unit = at / chunks, row = at % chunks * chunk_rows;
          run(bundles_[p], unit / groups_, unit % groups_, row, std::min(chunk_rows, rows - row), sources, sources + of_sources,
              sources + of_sources + of_weights);
        }
      }
    });
  }

 private:
  static Index aligned(Index count) { return (count + 31) / 32 * 32; }
  Index tiles(const Phase& phase) const {
    const Index each = tile_places(phase);
    return (samples_ * phase.places() + each - 1) / each;
  }

  // Places of a tile: tiles are made as many as the threads share evenly, since the last to end is waited for.
  Index tile_places(const Phase& phase) const {
    const Index threads = machine::threads(), all = samples_ * phase.places(), least = (all + most_places - 1) / most_places;
    if (least < threads) return most_places;
    const Index tiles = (least + threads - 1) / threads * threads, each = (all + tiles - 1) / tiles;
    return (each + lanes<T> - 1) / lanes<T> * lanes<T>;
  }
  // Rows are shared out where there are too few places to share out, or too many sums of several phases.
  Index chunks_of(Index rows, Index units, Index phases) const {
    const Index threads = machine::threads(), wanted = (jobs_per_thread * threads + units - 1) / units;
    Index chunks = std::max<Index>(1, std::min(wanted, rows / rows_that_pay));
    if (phases > 1) chunks = std::max(chunks, std::min(rows, rows * phases / sums_of_phases));
    if (units * chunks < threads) chunks = std::min((threads + units - 1) / units, (rows + most_rows - 1) / most_rows);
    const Index each = (rows + chunks - 1) / chunks, whole = (each + most_rows - 1) / most_rows * most_rows;
    return (rows + whole - 1) / whole;
  }

  // The block of terms that begins with term k; of depth 0 where there are no terms.
  Block block_at(const Bundle& bundle, Index k) const {
    const Index taps = bundle.depth(), channels = start_.channels / groups_;
    if (taps == 0) return {0, 0, 0, 0};
    if (taps > depth_at_once) return {k / taps, 1, k % taps, std::min(depth_at_once, taps - k % taps)};
    const Index most = way_ == Way::scatter && kernel_ == 1 ? depth_of_columns : depth_at_once / taps;
    return {k / taps, std::min(most, channels - k / taps), 0, taps};
  }

  // Rows [row, row + rows) of a group, for the places of a tile.
  void run(const Bundle& bundle, Index tile, Index group, Index row, Index rows, T* sources, T* panel, T* sums) const {
    const Phase& like = bundle.like();
    const Index each = tile_places(like), begin = tile * each, places = std::min(each, samples_ * like.places() - begin);
    Stretch stretches[most_places];
    const Index count = stretches_of(like, begin, places, stretches), summed = bundle.summed();
    const Index all = start_.channels / groups_ * bundle.depth();
    bool add = false;
    const auto finish_with_nothing = [&](Index first, Index at, Index taken) {
      static constexpr T nothing[most_places] = {};
      for (auto phase = bundle.phases.begin() + first; phase != bundle.phases.end(); ++phase)
        finish(*phase, group, row + at, taken, stretches, count, nothing, 0);
    };
    if (all == 0 || summands_.empty()) finish_with_nothing(0, 0, rows);
    for (std::size_t s = 0; s < summands_.size(); ++s)
      for (Index k = 0; k < all;) {
        const Block block = block_at(bundle, k);
        k += block.depth();
        gather(bundle, summands_[s], group, block, stretches, count, places, sources);
        const bool is_last = k == all && s + 1 == summands_.size();
        for (Index at = 0, taken; at < rows; at += taken) {
          taken = rows_at_once(rows - at);
          for (Index p = 0; p < summed; ++p) {
            const Phase& phase = bundle.phases[static_cast<std::size_t>(p)];
            const Weights<T> weights = form(phase, bundle.met[static_cast<std::size_t>(p)], summands_[s].weight, group, row + at,
                                            taken, block, panel);
            T* here = sums + (at * summed + p * taken) * most_places;
            for (Index first = 0; first < places; first += width<T>)
              multiply(taken, places - first, weights, sources + first, most_places, here + first, most_places, add);
            if (is_last) finish(phase, group, row + at, taken, stretches, count, here, most_places);
          }
          if (is_last) finish_with_nothing(summed, at, taken);
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
      one.sample = first_ + i;
      one.at = at;
      one.count = std::min(places - at, phase.counts[2] - one.place[2]);
      at += one.count;
    }
    return count;
  }

  void finish(const Phase& phase, Index group, Index row, Index rows, const Stretch* stretches, Index count, const T* sums,
              Index apart) const {
    for (Index i = 0; i < rows; ++i)
      for (const Stretch* one = stretches; one < stretches + count; ++one) {
        Index first = 0;
        for (int a = 0; a < window_axes; ++a) first = first * phase.to[a] + phase.first[a] + one->place[a] * phase.apart[a];
        finish_({one->sample, group * (end_.channels / groups_) + row + i, first, phase.apart[2], one->count,
                 sums + i * apart + one->at});
      }
  }

  // Rows (terms of the block, most_places) of what the taps bring, 0 where they are outside.
  void gather(const Bundle& bundle, const Summand<T>& summand, Index group, const Block& block, const Stretch* stretches, Index count,
              Index places, T* out) const {
    const Index end = (places + lanes<T> - 1) / lanes<T> * lanes<T>;  // what the product reads
    for (Index k = 0; k < block.depth() && end > places; ++k) std::fill(out + k * most_places + places, out + k * most_places + end, T(0));
    const Index taps = std::max<Index>(1, most_entries / count);
    for (Index t = 0; t < block.taps; t += taps) {
      Entry entries[std::max(most_entries, most_places)];
      Index filled = 0;
      for (Index k = t; k < std::min(block.taps, t + taps); ++k)
        for (Index j = 0; j < count; ++j)
          entries[filled++] = entry(bundle.like(), bundle.taps[static_cast<std::size_t>(block.tap + k)], k, stretches[j]);
      with_factor(summand.input, [&](auto constant) {
        for (Index c = 0; c < block.channels; ++c)
          copy<decltype(constant)::value>(summand.v, (group * (start_.channels / groups_) + block.channel + c) * start_.area,
                                          bundle.like().step[2], entries, filled, out + c * block.taps * most_places);
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

  // The weights' part between rows and those terms of a block that a phase meets: where they lie, or in a panel that stays
  // in the first cache. What lies in the next rows is asked for.
  Weights<T> form(const Phase& phase, const std::vector<Index>& met, Factor factor, Index group, Index row, Index rows,
                  const Block& block, T* panel) const {
    static constexpr auto in_order = [] {
      std::array<Index, depth_at_once> all{};
      for (Index k = 0; k < depth_at_once; ++k) all[static_cast<std::size_t>(k)] = k;
      return all;
    }();
    constexpr Index line = 64 / sizeof(T);
    const Index channels = start_.channels / groups_, all_rows = end_.channels / groups_, depth = block.depth();
    if (way_ == Way::look) {
      const T* from = w_ + ((group * all_rows + row) * channels + block.channel) * kernel_ + block.tap;
      const Index apart = channels * kernel_;
      for (Index i = 0; i < rows; ++i)
        for (Index k = 0; k < depth; k += line) fetch(from + (rows + i) * apart + k);
      if (factor == Factor::plain) return {from, apart, 1, 0, depth, in_order.data(), in_order.data(), depth, 0};
      for (Index i = 0; i < rows; ++i) form_weights(factor, constants_.gamma, from + i * apart, depth, panel + i * depth);
      return {panel, depth, 1, 0, depth, in_order.data(), in_order.data(), depth, 0};
    }
    const auto low = std::lower_bound(met.begin(), met.end(), block.tap), high = std::lower_bound(low, met.end(), block.tap + block.taps);
    const Index taps = high - low, together = rows * taps, apart = all_rows * kernel_;
    const Index* at = phase.at.data() + (low - met.begin());
    const Index* sources = met.data() + (low - met.begin());
    const T* from = w_ + ((group * channels + block.channel) * all_rows + row) * kernel_;
    for (Index c = 0; c < block.channels && kernel_ <= line; ++c)
      for (Index k = 0; k < rows * kernel_; k += line) fetch(from + c * apart + rows * kernel_ + k);
    if (factor == Factor::plain) return {from, kernel_, block.channels, apart, taps, at, sources, block.taps, block.tap};
    if (taps == kernel_) {
      for (Index c = 0; c < block.channels; ++c)
        form_weights(factor, constants_.gamma, from + c * apart, together, panel + c * together);
    } else {
      T* to = panel;
      for (Index c = 0; c < block.channels; ++c)
        for (Index i = 0; i < rows; ++i)
          for (Index t = 0; t < taps; ++t) *to++ = from[c * apart + i * kernel_ + at[t]];
      form_weights(factor, constants_.gamma, panel, block.channels * together, panel);
    }
    return {panel, taps, block.channels, together, taps, in_order.data(), sources, block.taps, block.tap};
  }

  const Way way_;
  const T* const w_;
  const std::vector<Summand<T>>& summands_;
  const Constants<T>& constants_;
  const std::function<void(const Run<T>&)>& finish_;
  const End start_, end_;
  const Index first_, samples_, groups_, kernel_;
  const std::vector<Bundle> bundles_;
};

// ---- the schedule where many sources are 0 ----
//
// A product of panels multiplies zeros too. After a ReLU half of an image is 0, and on the way back to maxima three
// quarters of a signal. Here registers lie along the channels of the end instead of the places, and each source that
// is not 0 meets the weights of its taps: what is 0 costs nothing. Bits differ from those of panels, so which schedule
// a sample gets depends on nothing but that sample. For kernels of three by three: with fewer taps a source is too
// little work for what finding it costs.

constexpr Index terms_at_once = 16;      // channels of the start whose weights, for a whole cell, stay in the first cache
constexpr Index places_at_once = 1024;   // whose sums, of the channels of a job, stay in the second; half where samples are few
constexpr Index longest_row = 64;        // of such places, and of sources that are listed together
constexpr Index sums_at_once = 1 << 17;  // so many of a job
constexpr Index channels_looked_at = 4;  // one of so many, for the share of zeros
constexpr Index most_left = 2;           // of `in_all` products, where this is less work
constexpr Index in_all = 3;
constexpr Index places_that_pay = 16;  // for packing weights: so many spared products of each

// A source that is not 0, and where the weights of its channel begin.
template <class T>
struct Event {
  T value;
  std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t> weights;
};

// The sums of `high` x `wide` places and `registers` registers of channels, while the events of the sources that they
// see are added: side x side of them to each place. Everything is spelled out for the compiler, so that the sums stay in
// registers from the first source to the last. What is narrow has half the channels and twice the places.
template <class T, bool is_narrow>
struct Cell {
  static constexpr int side = 3, most = most_rows == 8 ? 4 : 2, registers = is_narrow ? most / 2 : most;
  static constexpr int high = 2, wide = is_narrow ? 4 : 2, window = wide + side - 1, sources = window * (high + side - 1);
  static constexpr int all = high * wide * registers;
  static constexpr Index channels = registers * lanes<T>, weights = side * side * channels;  // weights of a term
  static constexpr Index terms = is_narrow ? 2 * terms_at_once : terms_at_once;              // listed together
  using Vector = typename Register<T>::type;
  struct Sums {
    Vector of[all];
  };

  // events, counts: of the sources from the first that the first place sees; rows of sources lie `row` apart, of sums `sums_row`
  static void run(const Event<T>* events, const int* counts, Index row, const T* panel, T* sums, Index sums_row) {
    Sums here;
    load(here, sums, sums_row, Counted<all>{});
    add_all(events, counts, row, panel, here, Counted<sources>{});
    store(here, sums, sums_row, Counted<all>{});
  }

 private:
  template <int i>
  static RELPROP_INLINE Index at(Index sums_row) {
    constexpr int place = i / registers;
    return place / wide * sums_row + place % wide * channels + i % registers * lanes<T>;
  }
  template <int... i>
  static RELPROP_INLINE void load(Sums& here, const T* sums, Index sums_row, Each<i...>) {
    ((here.of[i] = read<Vector>(sums + at<i>(sums_row))), ...);
  }
  template <int... i>
  static RELPROP_INLINE void store(const Sums& here, T* sums, Index sums_row, Each<i...>) {
    (write(here.of[i], sums + at<i>(sums_row)), ...);
  }

  template <int... source>
  static RELPROP_INLINE void add_all(const Event<T>* events, const int* counts, Index row, const T* panel, Sums& here, Each<source...>) {
    (add_events<source>(events + (source / window * row + source % window) * terms,
                        counts[source / window * row + source % window], panel, here, Counted<all>{}),
     ...);
  }
  template <int source, int... i>
  static RELPROP_INLINE void add_events(const Event<T>* event, int count, const T* panel, Sums& here, Each<i...>) {
    for (const Event<T>* last = event + count; event < last; ++event) {
      const T value = event->value;
      const T* w = panel + event->weights;
      (add<source, i>(value, w, here), ...);
    }
  }
  template <int source, int i>
  static RELPROP_INLINE void add(T value, const T* w, Sums& here) {
    constexpr int place = i / registers, k0 = source / window - place / wide, k1 = source % window - place % wide;
    if constexpr (k0 >= 0 && k0 < side && k1 >= 0 && k1 < side)
      here.of[i] += value * read<Vector>(w + (k0 * side + k1) * channels + i % registers * lanes<T>);
  }
};

// The least offset of a phase's taps along an axis.
Index least_offset(const Phase& phase, int axis) {
  Index least = phase.taps[0].offset[axis];
  for (const Tap& tap : phase.taps) least = std::min(least, tap.offset[axis]);
  return least;
}

// Whether the taps of a phase are those of a Cell: three by three next to one another.
bool meets(const WindowSize& size, const Phase& phase) {
  if (size.groups != 1 || phase.depth() != 9 || phase.from[0] != 1 || phase.to[0] != 1) return false;
  bool fits = phase.step[1] == 1 && phase.step[2] == 1;
  for (const Tap& tap : phase.taps)
    for (int a = 0; a < window_axes; ++a) fits &= tap.offset[a] - least_offset(phase, a) < (a == 0 ? 1 : 3);
  return fits && least_offset(phase, 0) == 0;
}

// The length of even pieces of at most `most`, a multiple of `multiple`.
Index piece_of(Index length, Index most, Index multiple) {
  const Index pieces = (length + most - 1) / most, piece = (length + pieces - 1) / pieces;
  return (piece + multiple - 1) / multiple * multiple;
}

template <class T, bool is_narrow>
class SparseSums {
  using Cell = cpu::Cell<T, is_narrow>;
  static constexpr Index terms_at_once = Cell::terms;

 public:
  SparseSums(const Question<T>& q, const Phase& phase)
      : q_(q), phase_(phase), top_(least_offset(phase, 1)), left_(least_offset(phase, 2)), start_(start_of(q.size, q.way)),
        end_(end_of(q.size, q.way)), blocks_((end_.channels + Cell::channels - 1) / Cell::channels),
        width_(piece_of(phase.counts[2], longest_row, Cell::wide)),
        height_(piece_of(phase.counts[1], places_of_a_tile(q) / width_, Cell::high)), row_(width_ + Cell::side - 1),
        sources_(row_ * (height_ + Cell::side - 1)) {}

  // Whether this is less work than products of panels, where such a share of the sources is not 0.
  bool pays(double density) const {
    const double work = density * static_cast<double>(blocks_ * Cell::channels) / static_cast<double>(end_.channels);
    return in_all * work < most_left && (1 - work) * static_cast<double>(phase_.places()) >= places_that_pay;
  }

  void run() const {
    const auto summands = static_cast<Index>(q_.summands.size());
    for (Index s = 0; s < summands; ++s)
      machine::count_product(2 * end_.channels * start_.channels * phase_.depth() * q_.samples * phase_.places());
    const Index across = (phase_.counts[2] + width_ - 1) / width_, tiles = (phase_.counts[1] + height_ - 1) / height_ * across;
    const Index of_block = width_ * height_ * Cell::channels, most = std::max<Index>(1, sums_at_once / of_block);
    const Index wanted = (jobs_per_thread * machine::threads() + q_.samples * tiles - 1) / (q_.samples * tiles);
    const Index chunk = std::max<Index>(1, std::min(piece_of(blocks_, most, 1), blocks_ / wanted));
    const Index chunks = (blocks_ + chunk - 1) / chunk, jobs = q_.samples * tiles * chunks;
    const Index slots = std::min<Index>(machine::threads(), jobs), of_sums = chunk * of_block + of_lines;
    const Buffer<T> sums(slots * of_sums), panels(slots * (of_panel + of_rows));
    const Buffer<Event<T>> events(slots * sources_ * terms_at_once);
    const Buffer<int> counts(slots * sources_);
    std::atomic<Index> next{0};
    machine::parallel(slots, 1, [&](Index begin, Index end) {
      for (Index slot = begin; slot < end; ++slot) {
        T* panel = panels.data() + slot * (of_panel + of_rows);
        const Scratch scratch{events.data() + slot * sources_ * terms_at_once, counts.data() + slot * sources_,
                              sums.data() + slot * of_sums, panel, panel + of_panel};
        for (Index job; (job = next++) < jobs;) {
          const Index tile = job / chunks % tiles, block = job % chunks * chunk;
          run(q_.first + job / chunks / tiles, tile / across * height_, tile % across * width_, block, std::min(chunk, blocks_ - block),
              scratch);
        }
      }
    });
  }

 private:
  static constexpr Index taps = Cell::side * Cell::side, of_panel = terms_at_once * Cell::weights;
  static constexpr Index row_length = (terms_at_once * taps + lanes<T> - 1) / lanes<T> * lanes<T>, of_rows = Cell::channels * row_length;

  static Index places_of_a_tile(const Question<T>& q) {
    return q.samples < jobs_per_thread * machine::threads() ? places_at_once / 2 : places_at_once;
  }

  // A line of places for each channel of a cell; squares of lanes read as far beyond the last sums.
  static constexpr Index of_lines = Cell::channels * (longest_row + lanes<T>);

  // Of one thread: the events of each source, how many they are, the sums, and the weights at hand, as they are met and
  // as they lie.
  struct Scratch {
    Event<T>* events;
    int* counts;
    T *sums, *panel, *rows;
  };

  // The part of the weights between a block of channels of the end and `count` terms: (term, tap, channel), 0 beyond the
  // last channel. It is met once, at once, and never leaves the caches.
  void pack(Factor factor, Index block, Index term, Index count, const Scratch& scratch) const {
    const Index terms = start_.channels, first = block * Cell::channels, channels = std::min(Cell::channels, end_.channels - first);
    const Index kernel = product_of(q_.size.windows.kernel);
    Index from[taps], to[row_length] = {};
    for (const Tap& tap : phase_.taps) {
      const Index k = (tap.offset[1] - top_) * Cell::side + tap.offset[2] - left_;
      from[k] = tap.at;
      for (Index t = 0; t < count; ++t) to[t * taps + (kernel == taps ? tap.at : k)] = t * taps + k;
    }
    with_factor(factor, [&](auto constant) {
      const auto form = [&](const T* w, Index length, T* out) {
        for (Index k = 0; k < length; ++k) out[k] = math::apply(decltype(constant)::value, w[k], q_.constants.gamma);
      };
      for (Index c = 0; c < channels; ++c) {
        T* row = scratch.rows + c * row_length;
        const bool look = q_.way == Way::look;
        const T* w = q_.w + (look ? (first + c) * terms + term : term * end_.channels + first + c) * kernel;
        const Index apart = look ? kernel : end_.channels * kernel;
        if (kernel != taps) {  // a phase of a larger kernel
          for (Index t = 0; t < count; ++t)
            for (Index k = 0; k < taps; ++k) form(w + t * apart + from[k], 1, row + t * taps + k);
        } else if (look) {
          for (Index k = 0; k < count * taps; k += lanes<T>) fetch(w + terms_at_once * taps + k);  // what comes next
          form(w, count * taps, row);
        } else {
          for (Index t = 0; t < count; ++t) form(w + t * apart, taps, row + t * taps);
        }
      }
    });
    for (Index c = channels; c < Cell::channels; ++c) std::fill_n(scratch.rows + c * row_length, count * taps, T(0));
    for (Index k = 0; k < count * taps; k += lanes<T>)
      for (Index c = 0; c < Cell::channels; c += lanes<T>)
        transpose(scratch.rows + c * row_length + k, row_length, std::min(lanes<T>, count * taps - k), scratch.panel + c, to + k,
                  Cell::channels);
  }

  // The places of a tile from (y, x), of `count` blocks of channels from `block`.
  void run(Index sample, Index y, Index x, Index block, Index count, const Scratch& scratch) const {
    const Index height = std::min(height_, phase_.counts[1] - y), width = std::min(width_, phase_.counts[2] - x);
    const Index of_block = width_ * height_ * Cell::channels;
    std::fill_n(scratch.sums, count * of_block, T(0));
    for (const Summand<T>& summand : q_.summands) {
      for (Index term = 0; term < start_.channels; term += terms_at_once) {
        const Index terms = std::min(terms_at_once, start_.channels - term);
        list(summand, sample, y, x, term, terms, scratch);
        for (Index b = 0; b < count; ++b) {
          pack(summand.weight, block + b, term, terms, scratch);
          for (Index i = 0; i < height; i += Cell::high)
            for (Index j = 0; j < width; j += Cell::wide)
              Cell::run(scratch.events + (i * row_ + j) * terms_at_once, scratch.counts + i * row_ + j, row_, scratch.panel,
                        scratch.sums + b * of_block + (i * width_ + j) * Cell::channels, width_ * Cell::channels);
        }
      }
    }
    T* lines = scratch.sums + count * of_block;  // one for each channel of a cell
    Index to[lanes<T>];
    for (Index c = 0; c < lanes<T>; ++c) to[c] = c * longest_row;
    for (Index b = 0; b < count; ++b)
      for (Index i = 0; i < height; ++i) {
        const T* from = scratch.sums + b * of_block + i * width_ * Cell::channels;
        const Index first = (phase_.first[1] + (y + i) * phase_.apart[1]) * phase_.to[2] + phase_.first[2] + x * phase_.apart[2];
        const Index channel = (block + b) * Cell::channels, channels = std::min(Cell::channels, end_.channels - channel);
        for (Index c = 0; c < channels; c += lanes<T>)
          for (Index j = 0; j < width; j += lanes<T>)
            transpose(from + j * Cell::channels + c, Cell::channels, lanes<T>, lines + c * longest_row + j, to, 1);
        for (Index c = 0; c < channels; ++c)
          q_.finish({sample, channel + c, first, phase_.apart[2], width, lines + c * longest_row});
      }
  }

  // The events of a tile: of each source that its places see, those of `count` channels from `term`.
  void list(const Summand<T>& summand, Index sample, Index y, Index x, Index term, Index count, const Scratch& scratch) const {
    std::fill_n(scratch.counts, sources_, 0);
    with_factor(summand.input, [&](auto constant) {
      for (Index i = 0; i * row_ < sources_; ++i) {
        const Index source = y + i + top_, place = term * start_.area + source * phase_.from[2];
        if (source < 0 || source >= phase_.from[1]) continue;
        for (Index j = 0; j < row_; j += longest_row)
          list<decltype(constant)::value>(summand.v + sample * start_.elements(), place, x + left_, j,
                                          std::min(row_, j + longest_row), count, scratch.counts + i * row_,
                                          scratch.events + i * row_ * terms_at_once);
      }
    });
  }

  // Those of a row that begins at `place` of its sample: sources [j, last) of it, which stand at left + j of the image.
  template <Factor factor>
  void list(const T* v, Index place, Index left, Index j, Index last, Index count, int* filled, Event<T>* events) const {
    j = std::max(j, -left);
    last = std::min(last, phase_.from[2] - left);
    if (j >= last) return;
    T values[terms_at_once][longest_row];  // all of them first, so that one read does not wait for another
    for (Index t = 0; t < count; ++t) {
      const Index here = place + t * start_.area + left + j;
      for (Index k = 0; k < last - j; ++k) values[t][k] = input_part<factor>(q_.constants, v[here + k], here + k);
    }
    filled += j;
    events += j * terms_at_once;
    for (Index k = 0; k < last - j; ++k) {
      Event<T>* to = events + k * terms_at_once;
      int n = 0;
      for (Index t = 0; t < count; ++t) {  // without a branch, which nobody could foretell
        to[n] = {values[t][k], static_cast<decltype(to->weights)>(t * Cell::weights)};
        n += values[t][k] != 0;
      }
      filled[k] = n;
    }
  }

  const Question<T>& q_;
  const Phase& phase_;
  const Index top_, left_;
  const End start_, end_;
  const Index blocks_, width_, height_, row_, sources_;
};

// f(whether narrow cells leave fewer lanes without a channel), a constant
template <class T, class F>
auto with_cell(Index channels, F&& f) {
  const auto idle = [&](Index of_cell) { return (of_cell - channels % of_cell) % of_cell; };
  if (idle(Cell<T, true>::channels) < idle(Cell<T, false>::channels)) return f(std::true_type{});
  return f(std::false_type{});
}

// The samples of which so much is 0 that it pays to meet the rest value by value.
template <class T>
std::vector<char> where_sparse(const Question<T>& q) {
  const End start = start_of(q.size, q.way);
  const Index summands = static_cast<Index>(q.summands.size()), rows = (start.channels + channels_looked_at - 1) / channels_looked_at;
  const auto pays = [&](double density) {
    return std::all_of(q.phases.begin(), q.phases.end(), [&](const Phase& phase) {
      return with_cell<T>(end_of(q.size, q.way).channels, [&](auto narrow) { return SparseSums<T, narrow>(q, phase).pays(density); });
    });
  };
  std::vector<char> answers(static_cast<std::size_t>(q.samples), 0);
  if (summands == 0 || q.phases.empty() || !pays(0)) return answers;
  const Buffer<Index> found(q.samples * summands * rows);
  machine::parallel(q.samples * summands * rows, grain(start.area), [&](Index begin, Index last) {
    for (Index i = begin; i < last; ++i) {
      const Summand<T>& summand = q.summands[static_cast<std::size_t>(i / rows % summands)];
      const Index first = i % rows * channels_looked_at * start.area;
      const T* v = summand.v + i / rows / summands * start.elements() + first;
      int count = 0;
      for_each_input(summand.input, q.constants, v, first, start.area, [&](Index, T value) { count += value != 0; });
      found.data()[i] = count;
    }
  });
  for (Index n = 0; n < q.samples; ++n) {
    double sum = 0;
    for (Index i = 0; i < summands * rows; ++i) sum += static_cast<double>(found.data()[n * summands * rows + i]);
    answers[static_cast<std::size_t>(n)] = pays(sum / static_cast<double>(summands * rows * start.area));
  }
  return answers;
}

}  // namespace

template <class Isa, class T>
void window_sums(Isa, const WindowSize& size, Index samples, Way way, const T* w, const std::vector<Summand<T>>& summands,
                 const Constants<T>& constants, const std::function<void(const Run<T>&)>& finish) {
  if (FoldedSums<T>::pays(size, way)) return FoldedSums<T>(size, samples, w, summands, constants, finish).run();
  const Question<T> all{size, way, w, summands, constants, finish, 0, samples, phases_of(size, way)};
  const auto is_met = [&](const Phase& phase) { return meets(size, phase); };
  if (std::none_of(all.phases.begin(), all.phases.end(), is_met)) return WindowSums<T>(all).run();
  Question<T> sparse = all, rest = all;
  sparse.phases.erase(std::stable_partition(sparse.phases.begin(), sparse.phases.end(), is_met), sparse.phases.end());
  rest.phases.erase(std::remove_if(rest.phases.begin(), rest.phases.end(), is_met), rest.phases.end());
  const std::vector<char> pays = where_sparse(sparse);
  if (std::count(pays.begin(), pays.end(), 1) == 0) return WindowSums<T>(all).run();
  if (!rest.phases.empty()) WindowSums<T>(rest).run();
  for (Index n = 0; n < samples; n += sparse.samples) {
    const char pay = pays[static_cast<std::size_t>(n)];
    sparse.first = n;
    sparse.samples = 1;
    while (n + sparse.samples < samples && pays[static_cast<std::size_t>(n + sparse.samples)] == pay) ++sparse.samples;
    if (pay)
      for (const Phase& phase : sparse.phases)
        with_cell<T>(end_of(size, way).channels, [&](auto narrow) { SparseSums<T, narrow>(sparse, phase).run(); });
    else
      WindowSums<T>(sparse).run();
  }
}

template <class Isa, class T>
T window_sum_at(Isa, const WindowSize& size, Way way, const T* w, const Summand<T>& summand, const Constants<T>& constants, Index o) {
  const End start = start_of(size, way), end = end_of(size, way);
  const Index *kernel = size.windows.kernel, *to = way == Way::look ? size.windows.counts : size.windows.lengths;
  const Index *from = way == Way::look ? size.windows.lengths : size.windows.counts;
  const Index channel = o / end.area, terms = start.channels / size.groups, rows = end.channels / size.groups, all = product_of(kernel);
  const Index place[window_axes] = {o % end.area / to[2] / to[1], o % end.area / to[2] % to[1], o % to[2]};
  T sum(0);
  for (Index k = 0; k < all; ++k) {
    const Index tap[window_axes] = {k / kernel[2] / kernel[1], k / kernel[2] % kernel[1], k % kernel[2]};
    Index at = 0;
    bool is_inside = true;
    for (int a = 0; a < window_axes; ++a) {
      const Index source = source_of(size.windows, way, a, place[a], tap[a]);
      is_inside &= source >= 0;
      at = at * from[a] + source;
    }
    if (!is_inside) continue;
    const Index first = channel / rows * terms;
    for_each_input(summand.input, constants, summand.v + first * start.area + at, first * start.area + at, terms, [&](Index c, T v) {
      const Index pair = way == Way::look ? channel * terms + c : (first + c) * rows + channel % rows;
      sum += v * math::apply(summand.weight, w[pair * all + k], constants.gamma);
    }, start.area);
  }
  return sum;
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
  template T window_sum_at(machine::RELPROP_ISA, const WindowSize&, Way, const T*, const Summand<T>&, const Constants<T>&, Index);  \
  template void window_sums_of_ones(machine::RELPROP_ISA, const WindowSize&, Way, const T*, Factor, const Constants<T>&, T*);       \
  template void window_box(machine::RELPROP_ISA, const WindowSize&, Index, Way, const T*, bool, T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cpu
