#include "cuda/upsample.h"

#include <algorithm>

#include "cuda/layer.cuh"
#include "machine/cuda/elements.cuh"
#include "machine/cuda/team.cuh"
#include "math/upsample.h"

namespace relprop::cuda {

namespace {

struct Range {
  int first, stop;
};

HD Index up(Index i, Index n) { return quotient(i + n - 1, n); }

// Where place p after is, times `per`.
HD Index position(const StretchedAxis& a, int p) {
  const Index at = p * a.pace + a.from, last = (a.length - 1) * a.per;
  return at < 0 ? 0 : at > last ? last : at;
}

// The places before that place p after reads with a weight that is not 0.
HD Range read_by(const StretchedAxis& a, int p) {
  if (a.length == 1) return {0, 1};
  const Index at = position(a, p);
  const int below = static_cast<int>(quotient(at, a.per));
  return {below, below + (a.is_nearest || below * a.per == at ? 1 : 2)};
}

// The places after that read place i before.
HD Range readers_of(const StretchedAxis& a, int i) {
  if (a.length == 1) return {0, a.count};
  if (a.is_nearest) return {static_cast<int>(up(i * a.per, a.pace)), static_cast<int>(up((i + 1) * a.per, a.pace))};
  const Index above = (i - 1) * a.per - a.from, below = (i + 1) * a.per - a.from;  // both exclusive, of p · pace
  const Index first = i == 0 || above < 0 ? 0 : quotient(above, a.pace) + 1;
  const Index stop = i == a.length - 1 ? a.count : below <= 0 ? 0 : up(below, a.pace);
  return {static_cast<int>(first), static_cast<int>(stop < a.count ? stop : a.count)};
}

template <class T>
HD T weight(const StretchedAxis& a, int p, int i) {
  if (a.is_nearest || a.length == 1) return T(1);
  const Index off = position(a, p) - i * a.per;
  return math::interpolation_weight<T>(off < 0 ? -off : off, a.per);
}

}  // namespace

// z from x, or `back`.
template <bool back>
struct UpsampleProduct {
  UpsampleMap map;
  Index a_sample, c_sample;
  static constexpr bool edges = false;
};

inline UpsampleProduct<false> sum_of(const UpsampleMap& map) { return {map, map.x_size(), map.z_size()}; }
inline UpsampleProduct<true> carry_of(const UpsampleMap& map) { return {map, map.z_size(), map.x_size()}; }

namespace {

// A team for each place of what is written, which gathers from what it reads, or is read by. Moves both once; what
// several read comes from a cache.
template <class T, int P, bool back, class Task>
__global__ void upsample_kernel(const Task task, const Teams teams) {
  constexpr int rank = UpsampleMap::rank;
  const UpsampleProduct<back>& g = task.product;
  Shared shared;
  Tile<Slots<T, P>> scratch{};
  if (teams.size > 1) scratch = shared.take<Slots<T, P>>(Teams::threads);
  const int thread = static_cast<int>(threadIdx.x);
  const Index element = Index(blockIdx.x) * teams.across() + teams.team(thread), sample = quotient(element, g.c_sample);
  const bool is_there = sample < g.map.samples;
  const int place = static_cast<int>(element - sample * g.c_sample);

  int rest = is_there ? place : 0, own[rank], apart[rank];
  Range range[rank];
  for (int d = rank - 1; d >= 0; --d) {
    const StretchedAxis& a = g.map.axes[d];
    const int here = back ? a.length : a.count, before = static_cast<int>(quotient(rest, here));
    own[d] = rest - before * here;
    range[d] = back ? readers_of(a, own[d]) : read_by(a, own[d]);
    apart[d] = back ? a.count : a.length;
    rest = before;
  }
  const auto along = [&](int d, int other) {
    return back ? weight<T>(g.map.axes[d], other, own[d]) : weight<T>(g.map.axes[d], own[d], other);
  };

  Slots<T, P> sums{};
  if (is_there)
    for (int i = range[0].first; i < range[0].stop; ++i) {
      const T by_0 = along(0, i);
      for (int j = range[1].first; j < range[1].stop; ++j) {
        const T by_1 = by_0 * along(1, j);
        const int row = ((rest * apart[0] + i) * apart[1] + j) * apart[2];
        for (int k = range[2].first + teams.member(thread); k < range[2].stop; k += teams.size) {
          const Slots<T, P> parts = task.read(sample, row + k), weights = task.weights(by_1 * along(2, k));
          for (int p = 0; p < P; ++p) sums.at[p] = multiply_add(parts.at[p], weights.at[p], sums.at[p]);
        }
      }
    }
  sums = team_join(teams, sums, scratch, [](Slots<T, P> a, const Slots<T, P>& b) {
    for (int p = 0; p < P; ++p) a.at[p] = a.at[p] + b.at[p];
    return a;
  });
  if (is_there && teams.member(thread) == 0) task.write(sample, 0, place, sums);
}

template <class T, int P, bool back, class Task>
void launch_product(const UpsampleProduct<back>& g, const char* operation, Stream stream, const Task& task, const T*) {
  const StretchedAxis& last = g.map.axes[UpsampleMap::rank - 1];
  const Index most = back ? last.count : last.length, numbers = std::min<Index>(most, back ? 2 * (up(last.count, last.length) + 1) : 2);
  const Teams teams = teams_for(numbers, g.c_sample, false);
  launch(operation, stream, teams.shape(g.map.samples * g.c_sample, room<Slots<T, P>>(0, Teams::threads)),
         &upsample_kernel<T, P, back, Task>, task, teams);
}

}  // namespace

RELPROP_INSTANTIATE_LAYER(float, UpsampleMap)
RELPROP_INSTANTIATE_LAYER(double, UpsampleMap)

}  // namespace relprop::cuda
