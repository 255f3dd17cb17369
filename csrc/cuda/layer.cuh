// Relevance through any affine map on the device, under any rule: which passes there are, and what each reads and
// writes. Mirrors pyref/layers/affine.py and AffineLayer of pyref/layers/layer.py.
//
// A map has
//
//   samples, x_size(), z_size()                the sizes of a sample
//   channel_apart(), channels()                z at a place has the bias of channel place / channel_apart % channels
//   sum_of(map), carry_of(map)                 its two directions, as products: z from x, and back
//   launch_product<T, P>(product, …, task, w)  runs one of them, with a Task as affine.cuh describes it
//
// A product knows a_sample and c_sample, how far apart lie the samples of what it reads and of what it writes, and
// whether zeros among its weights are no connections.
// No formula is written here: parts and shares come from math/rules.
#pragma once

#include <stdexcept>
#include <type_traits>
#include <utility>

#include "cuda/affine.cuh"
#include "cuda/layer.h"
#include "cuda/rule.cuh"

namespace relprop::cuda {

namespace {

using math::Part;

constexpr int most_slots = 4;  // that a product without a rule sums at once

// Whether each sample has weights of its own.
template <class Map>
constexpr bool weights_differ = false;

// ── what a pass over x reads: the input parts of x, the weight parts of w ──

// edges: where w is 0 nothing is connected, whatever a part makes of it.
template <class T, int P>
HD Slots<T, P> weight_parts(const Factor* weight, T w, bool edges, T gamma) {
  Slots<T, P> parts{};
  if (edges && w == 0) return parts;
  for (int p = 0; p < P; ++p) parts.at[p] = math::apply(weight[p], w, gamma);
  return parts;
}

template <class T, int P, class Product>
struct Inputs {
  Product product;
  const T* x;  // null where no part looks at it
  Factor input[P], weight[P];
  Constants<T> constants;

  HD Slots<T, P> read(Index sample, int place) const {
    const T v = x ? x[sample * product.a_sample + place] : T(0);
    Slots<T, P> parts;
    for (int p = 0; p < P; ++p) parts.at[p] = input_part(input[p], v, place, constants);
    return parts;
  }
  HD Slots<T, P> weights(T w) const { return weight_parts<T, P>(weight, w, product.edges, constants.gamma); }
};

// Sums as they are, or max(sum, 0): z, or parts of it on the way to their split.
template <class T, int P, class Product>
struct StoreSums : Inputs<T, P, Product> {
  T* z[P];
  const T* b;  // or null
  bool add, is_rectified;

  HD void write(Index sample, int channel, int place, const Slots<T, P>& sums) const {
    for (int p = 0; p < P; ++p) {
      if (!z[p]) continue;
      T& to = z[p][sample * this->product.c_sample + place];
      const T sum = b ? sums.at[p] + b[channel] : sums.at[p];
      to = is_rectified ? math::pos(sum) : add ? to + sum : sum;
    }
  }
};

// ── shares ──

// Where the sum of a part is: in memory (per_sample apart; 0 where all samples have the same), in a slot of the
// product at hand, or nowhere, which is 0. `bias` is still to be added.
template <class T>
struct Sum {
  const T* data = nullptr;
  Index per_sample = 0;
  int slot = -1;
  Factor bias = Factor::none;
};

template <class T, class Rule>
struct Splitter : Shares<T, Rule> {
  static constexpr int max_parts = Rule::max_parts;

  Sum<T> z[max_parts];
  T* s[max_parts];            // null where a part carries nothing, or nobody stores it
  Factor bias_of[max_parts];  // of carried parts
  T gamma;
  const T* b;  // or null
  int channel_apart, channels;  // place → channel

  HD int channel(int place) const { return place / channel_apart % channels; }

  template <int P>
  HD void gather(Index sample, int channel, int place, const Slots<T, P>& slots, T* out) const {
    const T bias = b ? b[channel] : T(0);
    for (int p = 0; p < max_parts; ++p) {
      out[p] = z[p].data ? z[p].data[sample * z[p].per_sample + place] : T(0);
      for (int slot = 0; slot < P; ++slot)  // unrolled: a slot is a register
        if (z[p].slot == slot) out[p] = slots.at[slot];
      if (b && z[p].bias != Factor::none) out[p] = out[p] + math::apply(z[p].bias, bias, gamma);
    }
  }
  HD void store(Index sample, int place, const T* s_here) const {
    for (int p = 0; p < max_parts; ++p)
      if (s[p]) s[p][sample * this->outputs + place] = s_here[p];
  }

  // As a Source of shares by themselves: what is gathered lies in memory.
  HD void gather(Index sample, int place, T* out) const { gather(sample, channel(place), place, Slots<T, 1>{}, out); }
  HD T bias_share(int place, const T* s_here) const {
    T share(0);
    for (int p = 0; p < max_parts; ++p)
      if (bias_of[p] != Factor::none) share = share + math::apply(bias_of[p], b[channel(place)], gamma) * s_here[p];
    return share;
  }
};

// Sums that are split at once: they never reach memory.
template <class T, int P, class Rule, class Product>
struct SplitSums : Inputs<T, P, Product> {
  Splitter<T, Rule> splitter;

  HD void write(Index sample, int channel, int place, const Slots<T, P>& sums) const {
    T z[Rule::max_parts], s[Rule::max_parts];
    splitter.gather(sample, channel, place, sums, z);
    splitter.split(sample, place, z, s);
    splitter.store(sample, place, s);
  }
};

// ── the way back ──

template <class T, int P, class Product>
struct Outputs {
  Product product;
  Factor input[P], weight[P];
  Constants<T> constants;
  const T* x;  // null: sums are not multiplied by inputs
  T* r;
  bool add;

  HD Slots<T, P> weights(T w) const { return weight_parts<T, P>(weight, w, product.edges, constants.gamma); }
  HD void write(Index sample, int, int place, const Slots<T, P>& sums) const {
    const Index at = sample * product.c_sample + place;
    T sum = add ? r[at] : T(0);
    for (int p = 0; p < P; ++p) sum = sum + (x ? input_part(input[p], x[at], place, constants) * sums.at[p] : sums.at[p]);
    r[at] = sum;
  }
};

// Shares from memory.
template <class T, int P, class Product>
struct Carry : Outputs<T, P, Product> {
  const T* s[P];

  HD Slots<T, P> read(Index sample, int place) const {
    Slots<T, P> shares;
    for (int p = 0; p < P; ++p) shares.at[p] = s[p] ? s[p][sample * this->product.a_sample + place] : T(0);
    return shares;
  }
};

// The share of a rule's one part, formed where it is read: it never reaches memory.
template <class T, class Rule, class Product>
struct CarrySplit : Outputs<T, 1, Product> {
  Splitter<T, Rule> splitter;

  HD Slots<T, 1> read(Index sample, int place) const {
    T z[Rule::max_parts], s[Rule::max_parts];
    splitter.gather(sample, place, z);
    splitter.split(sample, place, z, s);
    return {s[0]};
  }
};

// ── the order of things ──

// Calls f with the smallest number of slots, 1, 2 or 4, that holds `count`; fewest, most: of all counts.
template <int fewest, int most, class F>
void with_slots(int count, F&& f) {
  if (count < fewest || count > most) throw std::logic_error("a rule sums another number of parts than it says");
  if constexpr (most > 2)
    if (count > 2) return f(std::integral_constant<int, 4>{});
  if constexpr (most > 1 && fewest < 3)
    if (count > 1) return f(std::integral_constant<int, 2>{});
  if constexpr (fewest < 2) f(std::integral_constant<int, 1>{});
}

// A slot that a product sums: which part of x, which of w, and where its numbers go or come from.
template <class T>
struct Slot {
  Factor input, weight;
  T* data;
};

// The two directions of a map.
template <class Map>
using Sums = decltype(sum_of(std::declval<Map>()));
template <class Map>
using Carries = decltype(carry_of(std::declval<Map>()));

// A layer and the relevance that arrives at it.
template <class T, class Map>
struct Layer {
  const char* operation;
  Stream stream;
  const Map& map;
  const T *x, *w, *b, *R;  // x null: nothing is multiplied by inputs
  Constants<T> constants;
  const Account<T>* account;
};

// Sums of some slots, most_slots at a time. b is added to the first.
template <class T, class Map>
void store_sums(const Layer<T, Map>& layer, const T* b, const Slot<T>* slots, int count, bool add = false, bool is_rectified = false) {
  for (int first = 0; first < count; first += most_slots) {
    const int here = count - first < most_slots ? count - first : most_slots;
    with_slots<0, most_slots>(here, [&](auto number) {
      constexpr int P = decltype(number)::value;
      StoreSums<T, P, Sums<Map>> task{};
      task.product = sum_of(layer.map);
      task.x = layer.x;
      task.constants = layer.constants;
      task.b = first == 0 ? b : nullptr;
      task.add = add;
      task.is_rectified = is_rectified;
      for (int p = 0; p < P; ++p) {
        task.input[p] = p < here ? slots[first + p].input : Factor::none;
        task.weight[p] = p < here ? slots[first + p].weight : Factor::none;
        task.z[p] = p < here ? slots[first + p].data : nullptr;
      }
      launch_product<T, P>(task.product, layer.operation, layer.stream, task, layer.w);
    });
  }
}

// r = Σ over slots of input part · Σ_o weight part · s
template <class T, class Map>
void carry_slots(const Layer<T, Map>& layer, const Slot<T>* slots, int count, T* r, bool add = false) {
  for (int first = 0; first == 0 || first < count; first += most_slots) {
    const int here = count - first < most_slots ? count - first : most_slots;
    with_slots<0, most_slots>(here, [&](auto number) {
      constexpr int P = decltype(number)::value;
      Carry<T, P, Carries<Map>> task{};
      task.product = carry_of(layer.map);
      task.constants = layer.constants;
      task.x = layer.x;
      task.r = r;
      task.add = add || first > 0;
      for (int p = 0; p < P; ++p) {
        task.input[p] = p < here ? slots[first + p].input : Factor::none;
        task.weight[p] = p < here ? slots[first + p].weight : Factor::none;
        task.s[p] = p < here ? slots[first + p].data : nullptr;
      }
      launch_product<T, P>(task.product, layer.operation, layer.stream, task, layer.w);
    });
  }
}

// The relevance by one lowering of a rule.
template <class T, class Rule, class Map>
class Relevance {
  static constexpr int max_parts = Rule::max_parts;

  const Layer<T, Map>& layer_;
  const Rule& rule_;
  const Index outputs_;
  const bool by_itself_;  // shares need more than the sums of one output
  Splitter<T, Rule> splitter_;
  Numbers<T> sums_[max_parts], shares_[max_parts];
  Slot<T> summed_[max_parts] = {}, carried_[max_parts] = {};
  int to_sum_ = 0, to_carry_ = 0;

 public:
  Relevance(const Layer<T, Map>& layer, const Rule& rule)
      : layer_(layer),
        rule_(rule),
        outputs_(layer.map.z_size()),
        by_itself_(layer.account || rule.stabilizer == math::Stabilizer::rms || summed_parts(rule) > most_slots),
        splitter_{{rule, layer.R, outputs_, nullptr},
                  {},
                  {},
                  {},
                  layer.constants.gamma,
                  layer.b,
                  layer.map.channel_apart(),
                  layer.map.channels()} {}

  // z: the pre-activation where it is known
  void run(const T* z, T* r) {
    for (int p = 0; p < rule_.parts(); ++p) {
      const Part part = rule_.part(p);
      if (part.is_summed) place_sum(p, part, z);
      if (part.is_carried) splitter_.bias_of[p] = layer_.b ? part.bias : Factor::none;
    }
    if constexpr (max_parts == 1)
      if (to_sum_ == 0 && !by_itself_) return carry_split(r);
    for (int p = 0; p < rule_.parts(); ++p) {
      const Part part = rule_.part(p);
      if (part.is_carried && part.input != Factor::none) place_share(p, part);
    }
    bool is_split = false;
    if constexpr (Rule::most_sums > 0 && Rule::most_sums <= most_slots)
      if ((is_split = !by_itself_ && to_sum_ > 0))
        with_slots<Rule::fewest_sums, Rule::most_sums>(to_sum_, [&](auto number) { sum_split<decltype(number)::value>(); });
    if (!is_split) {
      store_sums<T>(layer_, nullptr, summed_, to_sum_);
      split_by_itself(layer_.operation, layer_.stream, layer_.map.samples, splitter_, layer_.account);
    }
    carry_slots<T>(layer_, carried_, to_carry_, r);
  }

 private:
  static int summed_parts(const Rule& rule) {
    int count = 0;
    for (int p = 0; p < rule.parts(); ++p) count += rule.part(p).is_summed;
    return count;
  }

  // Where the sum of a part will be. Sums of ones are made here, once where they are the same for all samples.
  void place_sum(int p, const Part& part, const T* z) {
    Sum<T>& sum = splitter_.z[p];
    const bool is_known = z && part.input == Factor::plain && part.weight == Factor::plain && (!layer_.b || part.bias == Factor::plain);
    if (is_known) {
      sum = {z, outputs_, -1, Factor::none};
      return;
    }
    sum.bias = part.bias;
    if (part.input == Factor::none) return;
    if (part.input == Factor::one) {
      Map those = layer_.map;
      if constexpr (!weights_differ<Map>) those.samples = 1;
      sums_[p] = Numbers<T>(layer_.operation, those.samples * outputs_, layer_.stream);
      const Layer<T, Map> ones{layer_.operation, layer_.stream, those, nullptr, layer_.w, nullptr, nullptr, layer_.constants, nullptr};
      const Slot<T> slot{part.input, part.weight, sums_[p].data()};
      store_sums<T>(ones, nullptr, &slot, 1);
      sum.data = sums_[p].data();
      if constexpr (weights_differ<Map>) sum.per_sample = outputs_;
      return;
    }
    if (by_itself_) {
      sums_[p] = Numbers<T>(layer_.operation, layer_.map.samples * outputs_, layer_.stream);
      sum.data = sums_[p].data();
      sum.per_sample = outputs_;
    } else {
      sum.slot = to_sum_;
    }
    summed_[to_sum_++] = {part.input, part.weight, sums_[p].data()};
  }

  // Where the share of a part will be: in the place of its sum, where that has a number for each.
  void place_share(int p, const Part& part) {
    T* place = splitter_.z[p].per_sample ? sums_[p].data() : nullptr;
    if (!place) {
      shares_[p] = Numbers<T>(layer_.operation, layer_.map.samples * outputs_, layer_.stream);
      place = shares_[p].data();
    }
    splitter_.s[p] = place;
    carried_[to_carry_++] = {part.input, part.weight, place};
  }

  template <int P>
  void sum_split() const {
    SplitSums<T, P, Rule, Sums<Map>> task{};
    task.product = sum_of(layer_.map);
    task.x = layer_.x;
    task.constants = layer_.constants;
    task.splitter = splitter_;
    for (int p = 0; p < P; ++p) {
      task.input[p] = p < to_sum_ ? summed_[p].input : Factor::none;
      task.weight[p] = p < to_sum_ ? summed_[p].weight : Factor::none;
    }
    launch_product<T, P>(task.product, layer_.operation, layer_.stream, task, layer_.w);
  }

  // One share from what is in memory already is formed on the way back.
  void carry_split(T* r) const {
    CarrySplit<T, Rule, Carries<Map>> task{};
    task.product = carry_of(layer_.map);
    task.constants = layer_.constants;
    task.x = layer_.x;
    task.r = r;
    task.input[0] = rule_.part(0).input;
    task.weight[0] = rule_.part(0).weight;
    task.splitter = splitter_;
    launch_product<T, 1>(task.product, layer_.operation, layer_.stream, task, layer_.w);
  }
};

// A guarded lowering would have to come back to the host for its answer. Here the parts that it saves cost no pass
// over x and w.
template <class T, class Map, class Rule>
void run(const Layer<T, Map>& layer, const Rule& rule, const T* z, T* r) {
  const auto one = math::unguarded(rule);
  Relevance<T, std::decay_t<decltype(one)>, Map>(layer, one).run(z, r);
}

}  // namespace

// ── the questions to a layer ──

template <class T, class Map>
void layer_forward(const char* operation, Stream stream, const Map& map, const T* x, const T* w, const T* b, T* z, bool is_rectified) {
  const Slot<T> slot{Factor::plain, Factor::plain, z};
  store_sums<T>(Layer<T, Map>{operation, stream, map, x, w, b, nullptr, {}, nullptr}, b, &slot, 1, false, is_rectified);
}

template <class T, class Map>
void layer_gradient(const char* operation, Stream stream, const Map& map, const T* w, const T* G, T* G_x) {
  const Slot<T> slot{Factor::one, Factor::plain, const_cast<T*>(G)};
  carry_slots<T>(Layer<T, Map>{operation, stream, map, nullptr, w, nullptr, nullptr, {}, nullptr}, &slot, 1, G_x);
}

template <class T, class Map>
void layer_relevance(const char* operation, Stream stream, const Map& map, const T* x, const T* w, const T* b, const T* R,
                     const AnyRule<T>& any, const Bounds<T>& bounds, const T* z, const Account<T>* account, T* r) {
  std::visit(
      [&](const auto& rule) {
        if constexpr (std::decay_t<decltype(rule)>::max_parts > 0) {
          const Layer<T, Map> layer{operation, stream, map, x, w, b, R, constants_of(rule, bounds), account};
          rule.lower(math::Known{false}, [&](const auto& lowering) { run(layer, lowering, z, r); });
        }
      },
      any);
}

#define RELPROP_INSTANTIATE_LAYER(T, Map)                                                                                   \
  template void layer_forward(const char*, Stream, const Map&, const T*, const T*, const T*, T*, bool);                     \
  template void layer_gradient(const char*, Stream, const Map&, const T*, const T*, T*);                                    \
  template void layer_relevance(const char*, Stream, const Map&, const T*, const T*, const T*, const T*, const AnyRule<T>&, \
                                const Bounds<T>&, const T*, const Account<T>*, T*);

}  // namespace relprop::cuda
