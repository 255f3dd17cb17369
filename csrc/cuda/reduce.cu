#include "cuda/reduce.h"

#include <algorithm>

#include "cuda/layer.cuh"
#include "machine/cuda/elements.cuh"
#include "machine/cuda/team.cuh"
#include "math/pool.h"

namespace relprop::cuda {

namespace {

HD Index over(Index i, int n) { return n == 1 ? i : quotient(i, n); }
HD Index over_up(Index i, int n) { return over(i + n - 1, n); }

struct Range {
  int first, stop;
  HD int size() const { return stop - first; }
};

// `range` as far as it lies between two numbers; empty is empty.
HD Range between(Index first, Index stop, int least, int most) {
  const int from = static_cast<int>(first < least ? least : first > most ? most : first);
  const int to = static_cast<int>(stop < from ? from : stop > most ? most : stop);
  return {from, to};
}

// The places that box o of an axis covers, of those from `least` to `most` - 1.
HD Range places_of(const BoxAxis& a, int o, int least, int most) {
  return between(over(Index(o) * a.pace, a.per) - a.before, over_up(Index(o) * a.pace + a.reach, a.per) - a.before, least, most);
}

// The boxes that cover place i of an axis.
HD Range boxes_at(const BoxAxis& a, int i) {
  const Index from = (Index(i) + a.before) * a.per - a.reach + 1, to = (Index(i) + a.before + 1) * a.per;
  return between(from <= 0 ? 0 : over_up(from, a.pace), over_up(to, a.pace), 0, a.count);
}

// An element of a sample's x or z: which one of outer, and where along each axis.
struct At {
  int outer, index[BoxMap::rank];

  HD At(const BoxMap& map, int place, int each, bool boxes) : outer(static_cast<int>(over(place, each))), index{} {
    int rest = place - outer * each;
    for (int d = BoxMap::rank - 1; d >= 0; --d) {
      const int n = boxes ? map.axes[d].count : map.axes[d].length;
      if (n == 1) continue;
      const int before = static_cast<int>(over(rest, n));
      index[d] = rest - before * n;
      rest = before;
    }
  }
};

// f(offset) for every element of a block of an array whose axes have these lengths, in row-major order.
template <class F>
HD void for_each_in(const Range* block, const int* lengths, F&& f) {
  for (int i = block[0].first; i < block[0].stop; ++i)
    for (int j = block[1].first; j < block[1].stop; ++j)
      for (int k = block[2].first; k < block[2].stop; ++k) {
        const int row = ((i * lengths[1] + j) * lengths[2] + k) * lengths[3];
        for (int l = block[3].first; l < block[3].stop; ++l) f(row + l);
      }
}

// The same for every step-th element from one on.
template <class F>
HD void for_each_in(const Range* block, const int* lengths, int first, int step, F&& f) {
  const int size = block[0].size() * block[1].size() * block[2].size() * block[3].size();
  for (int e = first; e < size; e += step) {
    int rest = e, offset = 0, apart = 1;
    for (int d = BoxMap::rank - 1; d >= 0; --d) {
      const int n = block[d].size(), before = n == 1 ? rest : static_cast<int>(over(rest, n));
      offset += (block[d].first + rest - before * n) * apart;
      apart *= lengths[d];
      rest = before;
    }
    f(offset);
  }
}

}  // namespace

// z from x: each box gathers what it covers. Moves x once, and z or its shares once; neighbouring boxes that overlap
// read the same places again, from a cache.
struct BoxSums {
  BoxMap map;
  Index a_sample, c_sample;
  static constexpr bool edges = false;

  template <class T>
  HD T weight(const At& at) const {
    if (!map.averages) return T(1);
    Index n = 1;
    for (int d = 0; d < BoxMap::rank; ++d) n *= places_of(map.axes[d], at.index[d], map.axes[d].least, map.axes[d].most).size();
    return math::average_weight(static_cast<T>(n));
  }
};

// x from z: each place gathers from the boxes that cover it. Moves x's shape once, and z's once.
struct BoxCarries : BoxSums {};

inline BoxSums sum_of(const BoxMap& map) { return {map, map.x_size(), map.z_size()}; }
inline BoxCarries carry_of(const BoxMap& map) { return {{map, map.z_size(), map.x_size()}}; }

namespace {

template <class T, int P, class Task>
__global__ void sums_kernel(const Task task, const Teams teams) {
  const BoxSums& g = task.product;
  Shared shared;
  Tile<Slots<T, P>> scratch{};
  if (teams.size > 1) scratch = shared.take<Slots<T, P>>(Teams::threads);

  const int thread = static_cast<int>(threadIdx.x), boxes = g.map.boxes();
  const Index i = Index(blockIdx.x) * teams.across() + teams.team(thread), sample = quotient(i, g.c_sample);
  const bool is_there = sample < g.map.samples;
  const int place = static_cast<int>(i - sample * g.c_sample);
  const At at(g.map, is_there ? place : 0, boxes, true);
  Slots<T, P> sums{};
  if (is_there) {
    Range block[BoxMap::rank];
    int lengths[BoxMap::rank];
    for (int d = 0; d < BoxMap::rank; ++d) {
      lengths[d] = g.map.axes[d].length;
      block[d] = places_of(g.map.axes[d], at.index[d], 0, lengths[d]);
    }
    const int outer = at.outer * g.map.places();
    const auto add = [&](int offset) {
      const Slots<T, P> parts = task.read(sample, outer + offset);
      for (int p = 0; p < P; ++p) sums.at[p] = sums.at[p] + parts.at[p];
    };
    if (teams.size == 1)
      for_each_in(block, lengths, add);
    else
      for_each_in(block, lengths, teams.member(thread), teams.size, add);
  }
  sums = team_join(teams, sums, scratch, [](Slots<T, P> a, const Slots<T, P>& b) {
    for (int p = 0; p < P; ++p) a.at[p] = a.at[p] + b.at[p];
    return a;
  });
  if (!is_there || teams.member(thread) != 0) return;
  const Slots<T, P> weights = task.weights(g.weight<T>(at));
  for (int p = 0; p < P; ++p) sums.at[p] = sums.at[p] * weights.at[p];
  task.write(sample, 0, place, sums);
}

template <class T, int P, class Task>
void launch_product(const BoxSums& g, const char* operation, Stream stream, const Task& task, const T*) {
  Index numbers = 1;  // that the largest box covers
  for (const BoxAxis& axis : g.map.axes)
    numbers *= std::min<Index>(axis.length, axis.per == 1 ? axis.reach : Index(axis.reach) / axis.per + 2);
  const BoxAxis& last = g.map.axes[BoxMap::rank - 1];
  const Teams teams = teams_for(numbers, g.c_sample, last.pace <= 8 * last.per);
  launch(operation, stream, teams.shape(g.map.samples * g.c_sample, room<Slots<T, P>>(0, Teams::threads)), &sums_kernel<T, P, Task>,
         task, teams);
}

template <class T, int P, class Task>
struct Carrier {
  Task task;

  HD void operator()(Index i) const {
    const BoxCarries& g = task.product;
    const Index sample = quotient(i, g.c_sample);
    const int place = static_cast<int>(i - sample * g.c_sample);
    const At at(g.map, place, g.map.places(), false);
    Range block[BoxMap::rank];
    int counts[BoxMap::rank];
    for (int d = 0; d < BoxMap::rank; ++d) {
      counts[d] = g.map.axes[d].count;
      block[d] = boxes_at(g.map.axes[d], at.index[d]);
    }
    const int boxes = g.map.boxes(), outer = at.outer * boxes;
    Slots<T, P> sums{};
    for_each_in(block, counts, [&](int box) {
      const Slots<T, P> parts = task.read(sample, outer + box), weights = task.weights(g.weight<T>(At(g.map, box, boxes, true)));
      for (int p = 0; p < P; ++p) sums.at[p] = multiply_add(parts.at[p], weights.at[p], sums.at[p]);
    });
    task.write(sample, 0, place, sums);
  }
};

template <class T, int P, class Task>
void launch_product(const BoxCarries& g, const char* operation, Stream stream, const Task& task, const T*) {
  for_each_element(operation, stream, g.map.samples * g.c_sample, Carrier<T, P, Task>{task});
}

}  // namespace

RELPROP_INSTANTIATE_LAYER(float, BoxMap)
RELPROP_INSTANTIATE_LAYER(double, BoxMap)

}  // namespace relprop::cuda
