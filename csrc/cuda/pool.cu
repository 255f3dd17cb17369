#include "cuda/pool.h"

#include <limits>

#include "machine/cuda/block.cuh"
#include "machine/cuda/elements.cuh"
#include "machine/cuda/team.cuh"

namespace relprop::cuda {

namespace {

using math::Ties;

// f(place) for every tap through which a window sees the image, in row-major order.
template <class F>
HD void for_each_place(const PoolMap& g, int position, F&& f) {
  const int p[3] = {position / g.counts[2] / g.counts[1], position / g.counts[2] % g.counts[1], position % g.counts[2]};
  for (int k0 = 0; k0 < g.kernel[0]; ++k0) {
    const int i0 = p[0] * g.stride[0] + k0 * g.dilation[0] - g.before[0];
    if (i0 < 0 || i0 >= g.lengths[0]) continue;
    for (int k1 = 0; k1 < g.kernel[1]; ++k1) {
      const int i1 = p[1] * g.stride[1] + k1 * g.dilation[1] - g.before[1];
      if (i1 < 0 || i1 >= g.lengths[1]) continue;
      for (int k2 = 0; k2 < g.kernel[2]; ++k2) {
        const int i2 = p[2] * g.stride[2] + k2 * g.dilation[2] - g.before[2];
        if (i2 >= 0 && i2 < g.lengths[2]) f((i0 * g.lengths[1] + i1) * g.lengths[2] + i2);
      }
    }
  }
}

// The window that sees place i of an axis through tap k, or -1.
HD int window_of(const PoolMap& g, int axis, int i, int k) {
  const int from = i + g.before[axis] - k * g.dilation[axis];
  return from < 0 || from % g.stride[axis] || from / g.stride[axis] >= g.counts[axis] ? -1 : from / g.stride[axis];
}

// f(position) for every window that sees a place, the last one first.
template <class F>
HD void for_each_window(const PoolMap& g, int place, F&& f) {
  const int i[3] = {place / g.lengths[2] / g.lengths[1], place / g.lengths[2] % g.lengths[1], place % g.lengths[2]};
  for (int k0 = 0; k0 < g.kernel[0]; ++k0) {
    const int p0 = window_of(g, 0, i[0], k0);
    if (p0 < 0) continue;
    for (int k1 = 0; k1 < g.kernel[1]; ++k1) {
      const int p1 = window_of(g, 1, i[1], k1);
      if (p1 < 0) continue;
      for (int k2 = 0; k2 < g.kernel[2]; ++k2) {
        const int p2 = window_of(g, 2, i[2], k2);
        if (p2 >= 0) f((p0 * g.counts[1] + p1) * g.counts[2] + p2);
      }
    }
  }
}

// The maximum of a window, where it was first met, and among how many it splits what goes back.
template <class T>
struct Winner {
  T y;
  int first;
  T shares;

  HD bool takes_part(Ties ties, const T* plane, int place) const {
    return ties == Ties::first ? first == place : math::pool_is_maximum(plane[place], y);
  }
};

template <class T>
HD Winner<T> winner_of(const PoolMap& g, Ties ties, const T* plane, int position) {
  Winner<T> best{T(0), -1, T(1)};
  for_each_place(g, position, [&](int place) {
    if (best.first >= 0 && !math::pool_takes(plane[place], best.y)) return;
    best.y = plane[place];
    best.first = place;
  });
  if (ties != Ties::split) return best;
  best.shares = T(0);
  for_each_place(g, position, [&](int place) {
    if (math::pool_is_maximum(plane[place], best.y)) best.shares = best.shares + 1;
  });
  return best;
}

// Of element i of arrays over windows or places: its plane, and which one it is there.
struct At {
  Index plane;
  int index;
  HD At(Index i, Index size) : plane(quotient(i, size)), index(static_cast<int>(i - plane * size)) {}
};

template <class T>
struct Forward {
  PoolMap map;
  Index places, positions;
  const T* x;
  T* y;
  HD void operator()(Index i) const {
    const At at(i, positions);
    y[i] = winner_of(map, Ties::first, x + at.plane * places, at.index).y;
  }
};

// The winners of every window; of x0, which may be one for all samples, too where it is not null.
template <class T>
struct Winners {
  PoolMap map;
  Ties ties;
  Index places, positions;
  const T *x, *x0;
  bool one_x0;
  Winner<T>*of_x, *of_x0;
  bool* is_still;  // whether nothing that a window sees differs

  HD Index plane0(Index plane) const { return one_x0 ? remainder(plane, map.channels) : plane; }
  HD void operator()(Index i) const {
    const At at(i, positions);
    const T* plane = x + at.plane * places;
    of_x[i] = winner_of(map, ties, plane, at.index);
    if (!x0) return;
    const T* other = x0 + plane0(at.plane) * places;
    of_x0[i] = winner_of(map, ties, other, at.index);
    bool still = true;
    for_each_place(map, at.index, [&](int place) { still = still && plane[place] - other[place] == 0; });
    is_still[i] = still;
  }
};

template <class T>
struct Gradient {
  Winners<T> winners;
  const T* G;
  T* G_x;
  HD void operator()(Index i) const {
    const At at(i, winners.places);
    T sum(0);
    for_each_window(winners.map, at.index, [&](int position) {
      const Index window = at.plane * winners.positions + position;
      const Winner<T>& winner = winners.of_x[window];
      if (winner.takes_part(winners.ties, winners.x + at.plane * winners.places, at.index)) sum = sum + G[window] / winner.shares;
    });
    G_x[i] = sum;
  }
};

template <class T>
struct Tangent {
  PoolMap map;
  Ties ties;
  Index places, positions;
  const T *x, *dx;
  T* dy;
  HD void operator()(Index i) const {
    const At at(i, positions);
    const T *plane = x + at.plane * places, *change = dx + at.plane * places;
    const Winner<T> winner = winner_of(map, ties, plane, at.index);
    T sum(0);
    for_each_place(map, at.index, [&](int place) {
      if (winner.takes_part(ties, plane, place)) sum = sum + change[place];
    });
    dy[i] = sum / winner.shares;
  }
};

template <class T>
struct Multiplier {
  Winners<T> winners;
  const T* M;
  T* M_x;
  HD void operator()(Index i) const {
    const At at(i, winners.places);
    const T *plane = winners.x + at.plane * winners.places, *other = winners.x0 + winners.plane0(at.plane) * winners.places;
    T sum(0);
    for_each_window(winners.map, at.index, [&](int position) {
      const Index window = at.plane * winners.positions + position;
      const Winner<T>&w = winners.of_x[window], &w0 = winners.of_x0[window];
      const bool wins = w.takes_part(winners.ties, plane, at.index), wins0 = w0.takes_part(winners.ties, other, at.index);
      if (winners.is_still[window]) {
        if (wins) sum = sum + M[window] / w.shares;
      } else if (wins || wins0) {
        const T rise = wins ? math::pool_rise(w.y, w0.y) / w.shares : T(0), fall = wins0 ? math::pool_fall(w.y, w0.y) / w0.shares : T(0);
        sum = sum + math::pool_multiplier(rise, fall, plane[at.index] - other[at.index], M[window]);
      }
    });
    M_x[i] = sum;
  }
};

// Where each window's maximum goes, and until when: `never` where no other number of it overtakes. Moves x and dx once.
template <class T>
struct Ray {
  PoolMap map;
  Index places, positions;
  T never;
  const T *x, *dx;
  T *dy, *until;
  HD void operator()(Index i) const {
    const At at(i, positions);
    const T *plane = x + at.plane * places, *change = dx + at.plane * places;
    const T y = winner_of(map, Ties::first, plane, at.index).y;
    T fastest = -never, soonest = never;
    for_each_place(map, at.index, [&](int place) {
      if (math::pool_is_maximum(plane[place], y) && math::pool_takes(change[place], fastest)) fastest = change[place];
    });
    for_each_place(map, at.index, [&](int place) {
      if (change[place] > fastest)
        soonest = math::smaller(soonest, math::pool_meeting(y, plane[place], fastest, change[place]));
    });
    dy[i] = fastest;
    until[i] = soonest;
  }
};

// A block per sample: the soonest of its windows.
template <class T>
__global__ void soonest_kernel(Index windows, T never, const T* until, T* t) {
  Shared shared;
  auto scratch = shared.take<T>(Teams::threads);
  T soonest = never;
  for (Index j = threadIdx.x; j < windows; j += Teams::threads) soonest = math::smaller(soonest, until[blockIdx.x * windows + j]);
  soonest = team_join(Teams{Teams::threads, true}, soonest, scratch, [](T a, T b) { return math::smaller(a, b); });
  if (threadIdx.x == 0) t[blockIdx.x] = soonest;
}

constexpr int surplus_threads = 256;

// A block per sample: G of its windows minus what their winners received.
template <class T>
__global__ void surplus_kernel(const Winners<T> winners, const T* G, T* dropped) {
  Shared shared;
  auto scratch = shared.take<double>(surplus_threads / warp);
  const Index windows = winners.map.channels * winners.positions, first = Index(blockIdx.x) * windows;
  double beyond = 0;
  for (Index j = threadIdx.x; j < windows; j += surplus_threads) {
    const At at(first + j, winners.positions);
    const T g = G[first + j];
    beyond += static_cast<double>(g);
    for_each_place(winners.map, at.index, [&](int place) {
      const Winner<T>& winner = winners.of_x[first + j];
      if (winner.takes_part(winners.ties, winners.x + at.plane * winners.places, place)) beyond -= static_cast<double>(g / winner.shares);
    });
  }
  const double sum = block_sum<double>(beyond, scratch);
  if (threadIdx.x == 0) dropped[blockIdx.x] = static_cast<T>(sum);
}

}  // namespace

template <class T>
void max_pool_forward(const char* operation, Stream stream, const PoolMap& map, const T* x, T* y) {
  for_each_element(operation, stream, map.planes() * map.positions(), Forward<T>{map, map.places(), map.positions(), x, y});
}

template <class T>
void max_pool_gradient(const char* operation, Stream stream, const PoolMap& map, Ties ties, const T* x, const T* G, T* dropped,
                       T* G_x) {
  const Index windows = map.planes() * map.positions();
  const Numbers<Winner<T>> of_x(operation, windows, stream);
  const Winners<T> winners{map, ties, map.places(), map.positions(), x, nullptr, false, of_x.data(), nullptr, nullptr};
  for_each_element(operation, stream, windows, winners);
  for_each_element(operation, stream, map.planes() * map.places(), Gradient<T>{winners, G, G_x});
  if (dropped)
    launch(operation, stream, {dim3(static_cast<unsigned>(map.samples)), dim3(surplus_threads), room<double>(0, surplus_threads / warp)},
           &surplus_kernel<T>, winners, G, dropped);
}

template <class T>
void max_pool_tangent(const char* operation, Stream stream, const PoolMap& map, Ties ties, const T* x, const T* dx, T* dy) {
  for_each_element(operation, stream, map.planes() * map.positions(),
                   Tangent<T>{map, ties, map.places(), map.positions(), x, dx, dy});
}

template <class T>
void max_pool_multiplier(const char* operation, Stream stream, const PoolMap& map, Ties ties, const T* x, const T* x0,
                         bool one_x0, const T* M, T* M_x) {
  const Index windows = map.planes() * map.positions();
  const Numbers<Winner<T>> of_x(operation, windows, stream), of_x0(operation, windows, stream);
  const Numbers<bool> is_still(operation, windows, stream);
  const Winners<T> winners{map, ties, map.places(), map.positions(), x, x0, one_x0, of_x.data(), of_x0.data(), is_still.data()};
  for_each_element(operation, stream, windows, winners);
  for_each_element(operation, stream, map.planes() * map.places(), Multiplier<T>{winners, M, M_x});
}

template <class T>
void max_pool_ray(const char* operation, Stream stream, const PoolMap& map, const T* x, const T* dx, T* dy, T* t) {
  const Index windows = map.channels * map.positions();
  const T never = std::numeric_limits<T>::infinity();
  const Numbers<T> until(operation, map.samples * windows, stream);
  for_each_element(operation, stream, map.samples * windows,
                   Ray<T>{map, map.places(), map.positions(), never, x, dx, dy, until.data()});
  const Teams one{Teams::threads, true};
  launch(operation, stream, one.shape(map.samples, room<T>(0, Teams::threads)), &soonest_kernel<T>, windows, never, until.data(), t);
}

#define RELPROP_INSTANTIATE(T)                                                                                                     \
  template void max_pool_forward(const char*, Stream, const PoolMap&, const T*, T*);                                               \
  template void max_pool_gradient(const char*, Stream, const PoolMap&, Ties, const T*, const T*, T*, T*);                          \
  template void max_pool_tangent(const char*, Stream, const PoolMap&, Ties, const T*, const T*, T*);                               \
  template void max_pool_multiplier(const char*, Stream, const PoolMap&, Ties, const T*, const T*, bool, const T*, T*);            \
  template void max_pool_ray(const char*, Stream, const PoolMap&, const T*, const T*, T*, T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cuda
