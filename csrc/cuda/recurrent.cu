#include "cuda/recurrent.cuh"

#include <algorithm>
#include <mutex>
#include <stdexcept>

#include "cuda/affine.h"
#include "cuda/shape.h"
#include "machine/cuda/elements.cuh"

namespace relprop::cuda {

namespace {

std::mutex holding_mutex;
Holding most_held;
thread_local const char* chosen = "";

template <class T>
struct Mask {
  Index steps, length;
  const Index* lengths;
  const T* from;
  T* to;
  HD void operator()(Index i) const {
    const Index row = quotient(i, length), n = quotient(row, steps);
    to[i] = row - n * steps < lengths[n] ? from[i] : T(0);
  }
};

template <class T>
struct Products {
  RecurrentSize size;
  Steps<const T> r, q;
  T* s;
  HD void operator()(Index i) const {
    const Index row = quotient(i, size.width), n = quotient(row, size.steps), t = row - n * size.steps, j = i - row * size.width;
    s[i] = math::gru_s(r.at(n, t)[j], q.at(n, t)[j]);
  }
};

template <class T>
struct Pack {
  Packed<T> from;
  int unit, offset, depth;
  T* to;
  HD void operator()(Index i) const {
    const Index j = quotient(i, depth), k = i - j * depth;
    to[j * unit + offset + k] = math::apply(from.factor, from.w[j * from.unit + k * from.step], from.gamma);
  }
};

// The denominators of a map in every step and run.
template <class T>
struct Denominators {
  static constexpr int count = Lowering<T>::most_denominators;
  StepMap<T> map;
  HD void operator()(Index row, int j, T* values) const {
    const int runs = map.columns / map.width, run = static_cast<int>(row % runs);
    const Index step = row / runs;
    T z[Lowering<T>::most_parts];
    map.sums(step / map.steps, step % map.steps, run * map.width + j, z);
    map.rule.with([&](const auto& rule) {
      using Rule = std::decay_t<decltype(rule)>;
      for (int k = 0; k < count; ++k) values[k] = k < Rule::denominators ? rule.denominator(k, z) : T(0);
    });
  }
};

// x or y in all steps as the input of a dense layer; w has columns of more blocks than this one's.
AffineMap map_of(Index rows, Index inputs, int columns, Index w_stride) {
  AffineMap map{rows, 1, static_cast<int>(inputs), columns, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}, true,
                0, w_stride, 1, 0};
  return map;
}

template <class T>
Lowering<T> lowering_of(const AnyRule<T>& any) {
  std::vector<Lowering<T>> made;
  std::visit(
      [&](const auto& rule) {
        if constexpr (std::decay_t<decltype(rule)>::max_parts > 0)
          rule.lower(math::Known{false}, [&](const auto& one) { made.emplace_back(math::unguarded(one)); });
      },
      any);
  return made.at(0);
}

// What a schedule asks of a lowering: its parts, and whether it needs mean squares.
template <class T>
struct Asked {
  StepMap<T>& map;
  bool is_rms;
  template <class Rule>
  HD void operator()(const Rule& rule) {
    map.parts = rule.parts();
    for (int p = 0; p < map.parts; ++p) map.part[p] = rule.part(p);
    is_rms = rule.stabilizer == math::Stabilizer::rms;
  }
};

int up_to(int count, int multiple) { return (count + multiple - 1) / multiple * multiple; }

}  // namespace

Holding holding() {
  const std::lock_guard<std::mutex> lock(holding_mutex);
  return most_held;
}
void set_holding(const Holding& most) {
  const std::lock_guard<std::mutex> lock(holding_mutex);
  most_held = most;
}

const char* last_held() { return chosen; }

template <class T>
void mask_padding(const char* operation, Stream stream, const RecurrentSize& size, Index length, const Index* lengths, const T* from,
                  T* to) {
  for_each_element(operation, stream, size.samples * size.steps * length, Mask<T>{size.steps, length, lengths, from, to});
}

template <class T>
void gru_s(const char* operation, Stream stream, const RecurrentSize& size, const Steps<const T>& r, const Steps<const T>& q, T* s) {
  for_each_element(operation, stream, size.samples * size.steps * size.width, Products<T>{size, r, q, s});
}

template <class T>
void pack_steps(const char* operation, Stream stream, const RecurrentSize& size, Index length, const Steps<const T>& from, T* to) {
  Layout layout;
  layout.rank = 3;
  const Index shape[3] = {size.samples, size.steps, length}, strides[3] = {from.sample, from.step, 1};
  std::copy_n(shape, 3, layout.shape);
  std::copy_n(strides, 3, layout.strides);
  pack(operation, stream, layout, from.data, to);
}

Index finish(Walk& walk) {
  Index all = 0;
  for (int s = 0; s < walk.stages; ++s) {
    StepProduct& product = walk.products[s];
    const int last = product.groups - 1, used = last < 0 ? 0 : product.offset[last] + product.depth[last];
    product.unit = (used + 23) / 32 * 32 + 8;  // 8 more than whole rows of banks, and no fewer than used
    product.packed = all;
    all += Index(product.unit) * walk.width;
  }
  return all;
}

template <class T>
void pack_weights(const char* operation, Stream stream, const Walk& walk, int stage, int group, int skip, int depth,
                  const Packed<T>& from, T* packed) {
  const StepProduct& product = walk.products[stage];
  const Pack<T> task{from, product.unit, product.offset[group] + skip, depth, packed + product.packed};
  for_each_element(operation, stream, Index(walk.width) * depth, task);
}

void spread(const char* operation, const void* kernel, int item, Walk& walk) {
  const Processors device = processors(operation);
  const Holding most = holding();
  const int longest = walk.longest();
  const Index samples = walk.samples, width = walk.width;
  const auto ceil = [](Index a, Index b) { return static_cast<int>((a + b - 1) / b); };
  const auto set_octets = [&] { walk.octets = std::min(most_octets, up_to(walk.units, 4)); };

  walk.rows = std::clamp(ceil(samples, device.count), 1, octet);
  walk.is_held = walk.is_alone = true;
  walk.staged = longest;
  walk.members = 1;
  walk.units = walk.width;
  const Index weights = walk.weights(walk.width) * item;
  if (weights <= most.bytes && weights + Index(walk.tile()) * item <= device.shared) {
    walk.teams = ceil(samples, walk.rows);
    chosen = "block";
    return set_octets();
  }

  walk.is_alone = false;
  walk.staged = std::max(1, std::min(longest, most.staged * 4 / item));
  const auto shared = [&](Index units) { return static_cast<std::size_t>((walk.tile() + walk.weights(static_cast<int>(units))) * item); };
  const Index room = std::min<Index>(most.bytes, device.shared - Index(walk.tile()) * item),
              held = std::min(width, room / (walk.weights(1) * item));
  walk.is_held = held > 0 && ceil(width, held) <= device.count * resident(operation, kernel, octet * most_octets, shared(held));
  const int all = device.count * resident(operation, kernel, octet * most_octets, shared(walk.is_held ? held : 0));
  if (walk.is_held) {
    walk.members = ceil(width, held);
    walk.teams = static_cast<int>(std::min<Index>(samples, all / walk.members));
    walk.members = std::max(walk.members, std::min(all / walk.teams, ceil(width, octet)));  // few samples: smaller shares
  } else {
    walk.members = std::min(all, ceil(width, 4));
    walk.teams = 1;  // each team reads all weights
  }
  chosen = walk.is_held ? "grid" : "memory";
  walk.units = ceil(width, walk.members);
  walk.members = ceil(width, walk.units);
  walk.rows = ceil(samples, walk.teams);
  walk.teams = ceil(samples, walk.rows);
  set_octets();
}

template <class T>
StateNorm<T> state_norm(const AnyRule<T>& any) {
  StateNorm<T> norm;
  std::visit(
      [&](const auto& rule) {
        if constexpr (std::decay_t<decltype(rule)>::max_parts > 0) {
          norm.epsilon = rule.epsilon;
          norm.stabilizer = rule.stabilizer;
        }
      },
      any);
  return norm;
}

template <class T>
StepRelevance<T>::StepRelevance(const char* operation, Stream stream, const RecurrentSize& size, const RecurrentBounds<T>& bounds,
                                const StepLayer<T>& layer, const AnyRule<T>& any)
    : operation_(operation), stream_(stream), size_(size), layer_(layer), map_{lowering_of(any), 0, {}, {}, {}, {}, {}, {}, layer.y,
                                                                              layer.w_y == nullptr, {}, layer.b, size.steps,
                                                                              layer.width, layer.columns, nullptr, layer.bias,
                                                                              layer.bias_stride} {
  std::visit(
      [&](const auto& rule) {
        if constexpr (std::decay_t<decltype(rule)>::max_parts > 0) {
          of_x_ = constants_of(rule, bounds.x);
          map_.constants = constants_of(rule, bounds.h);
        }
      },
      any);
  Asked<T> asked{map_, false};
  map_.rule.with(asked);
  const Index rows = size.samples * size.steps, columns = layer.columns, states = layer.w_y ? size.width : 0;
  if (layer.w_y && !layer_.y_packed)
    for (int p = 0; p < map_.parts; ++p) {
      const math::Part& part = map_.part[p];
      const bool is_known = part.input == Factor::plain && part.weight == Factor::plain && (!layer.b || part.bias == Factor::plain);
      if (!part.is_summed || part.input == Factor::none || part.input == Factor::one || is_known || layer_.y_packed) continue;
      y_packed_ = Numbers<T>(operation, rows * states, stream);
      pack_steps(operation, stream, size, states, layer.y, y_packed_.data());
      layer_.y_packed = y_packed_.data();
    }
  for (int p = 0; p < map_.parts; ++p) {
    const math::Part& part = map_.part[p];
    map_.place[p] = -1;
    map_.bias_of[p] = Factor::none;
    if (is_carried(p)) {
      shares_[p] = Numbers<T>(operation, layer.w_x ? rows * columns : 0, stream);
      map_.shares[p] = shares_[p].data();
    }
    if (!part.is_summed) continue;
    if (part.input == Factor::plain && part.weight == Factor::plain && (!layer.b || part.bias == Factor::plain)) {
      map_.z[p] = layer.z;
      continue;
    }
    if (layer.b) map_.bias_of[p] = part.bias;
    if (part.input == Factor::none) continue;
    map_.is_summed_here[p] = map_.is_elementwise;
    const bool is_one = part.input == Factor::one;
    const Index count = is_one ? 1 : rows;
    sums_[p] = Numbers<T>(operation, count * columns, stream);
    map_.z[p] = is_one ? Steps<const T>{sums_[p].data(), 0, 0} : Steps<const T>{sums_[p].data(), size.steps * columns, columns};
    if (!layer.w_x && !layer.w_y) clear(operation, sums_[p].data(), sums_[p].bytes(), stream);
    if (layer.w_x)
      affine_sum<T>(operation, stream, map_of(count, size.inputs, layer.columns, layer.w_stride), is_one ? nullptr : layer.x, layer.w_x,
                    part.input, part.weight, of_x_, false, sums_[p].data());
    if (layer.w_y)
      affine_sum<T>(operation, stream, map_of(count, states, layer.columns, layer.w_stride), is_one ? nullptr : layer_.y_packed, layer.w_y,
                    part.input, part.weight, map_.constants, layer.w_x != nullptr, sums_[p].data());
  }
  if (asked.is_rms && columns > 0) {
    squares_ = mean_squares<T>(operation, stream, Denominators<T>{map_}, rows * (columns / layer.width), layer.width);
    map_.squares = squares_.data();
  }
}

template <class T>
void StepRelevance<T>::carry_x(T* R_x, bool add) const {
  std::vector<CarriedPart<T>> parts;
  for (int p = 0; p < map_.parts; ++p)
    if (is_carried(p)) parts.push_back({map_.part[p].input, map_.part[p].weight, map_.shares[p]});
  affine_carry<T>(operation_, stream_, map_of(size_.samples * size_.steps, size_.inputs, layer_.columns, layer_.w_stride), layer_.x,
                  layer_.w_x, parts.data(), static_cast<int>(parts.size()), of_x_, add, R_x);
}

template <class T>
std::vector<Factor> StepRelevance<T>::inputs_of(const std::vector<StepRelevance*>& maps) {
  std::vector<Factor> inputs;
  for (const StepRelevance* one : maps)
    for (int p = 0; p < one->map_.parts; ++p)
      if (one->is_carried(p) && std::find(inputs.begin(), inputs.end(), one->map_.part[p].input) == inputs.end())
        inputs.push_back(one->map_.part[p].input);
  if (inputs.size() > most_sums) throw std::logic_error("a rule looks at inputs in more ways than a walk sums up");
  return inputs;
}

template <class T>
Back<T> StepRelevance<T>::enter(Walk& walk, int stage, const std::vector<StepRelevance*>& maps) {
  Back<T> back{0, {}, maps.front()->layer_.y, maps.front()->map_.constants};
  int place = 0;
  for (const Factor input : inputs_of(maps)) {
    const int first = place;
    for (StepRelevance* one : maps)
      for (int p = 0; p < one->map_.parts; ++p) {
        if (!one->is_carried(p) || one->map_.part[p].input != input) continue;
        one->map_.place[p] = place;
        place += one->layer_.columns;
      }
    add_sum(walk.products[stage], first, place - first);
    back.input[back.groups++] = input;
  }
  return back;
}

template <class T>
void StepRelevance<T>::pack(const Walk& walk, int stage, const std::vector<StepRelevance*>& maps, T* packed) {
  int group = 0;
  for (const Factor input : inputs_of(maps)) {
    int skip = 0;
    for (const StepRelevance* one : maps)
      for (int p = 0; p < one->map_.parts; ++p) {
        if (!one->is_carried(p) || one->map_.part[p].input != input) continue;
        const Packed<T> from{one->layer_.w_y, one->layer_.w_stride, 1, one->map_.part[p].weight, one->map_.constants.gamma};
        pack_weights(one->operation_, one->stream_, walk, stage, group, skip, one->layer_.columns, from, packed);
        skip += one->layer_.columns;
      }
    ++group;
  }
}

#define RELPROP_INSTANTIATE(T)                                                                                                    \
  template void mask_padding(const char*, Stream, const RecurrentSize&, Index, const Index*, const T*, T*);                       \
  template void gru_s(const char*, Stream, const RecurrentSize&, const Steps<const T>&, const Steps<const T>&, T*);               \
  template void pack_steps(const char*, Stream, const RecurrentSize&, Index, const Steps<const T>&, T*);                          \
  template void pack_weights(const char*, Stream, const Walk&, int, int, int, int, const Packed<T>&, T*);                         \
  template StateNorm<T> state_norm(const AnyRule<T>&);                                                                            \
  template class StepRelevance<T>;
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cuda
