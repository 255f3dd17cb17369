#include "cuda/softmax.h"

#include "machine/cuda/elements.cuh"
#include "machine/cuda/team.cuh"
#include "math/softmax.h"

namespace relprop::cuda {

namespace {

// What is answered for one number x of a row, given the row's maximum and total, its share p, a signal G of its own and
// the sum over the row of summand(p, G), which is made where there are signals.
template <class T>
struct Member {
  T x, max, total, p, G, sum;
};

struct Forward {
  static constexpr bool sums = false;
  template <class T>
  HD T answer(const Member<T>& at) const {
    return at.p;
  }
};
struct Gradient {
  static constexpr bool sums = true;
  template <class T>
  HD T summand(T p, T G) const {
    return p * G;
  }
  template <class T>
  HD T answer(const Member<T>& at) const {
    return math::softmax_gradient(at.p, at.G, at.sum);
  }
};
struct LogForward {
  static constexpr bool sums = false;
  template <class T>
  HD T answer(const Member<T>& at) const {
    return math::log_softmax(at.x, at.max, at.total);
  }
};
struct LogGradient {
  static constexpr bool sums = true;
  template <class T>
  HD T summand(T, T G) const {
    return G;
  }
  template <class T>
  HD T answer(const Member<T>& at) const {
    return math::log_softmax_gradient(at.p, at.G, at.sum);
  }
};
struct LogTangent : Gradient {
  template <class T>
  HD T answer(const Member<T>& at) const {
    return at.G - at.sum;
  }
};

// A team for each row. Moves x, the signal if there is one, and out once to and from memory; a member comes back to its
// own numbers up to three times, which a cache holds.
template <class T, class Task>
__global__ void softmax_kernel(const Task task, const SoftmaxMap map, const Teams teams, const T* x, const T* G, T* out) {
  Shared shared;
  Tile<T> scratch{};
  if (teams.size > 1) scratch = shared.take<T>(Teams::threads);
  const int thread = static_cast<int>(threadIdx.x), member = teams.member(thread);
  const Index row = Index(blockIdx.x) * teams.across() + teams.team(thread), outer = quotient(row, map.inner);
  const bool is_there = outer < map.outer;
  const Index first = outer * map.length * map.inner + (row - outer * map.inner);
  const auto each = [&](auto&& f) {
    if (!is_there) return;
    for (int c = member; c < map.length; c += teams.size) f(first + Index(c) * map.inner);
  };

  T max = is_there ? x[first + Index(member) * map.inner] : T(0);  // a team is not larger than its row
  each([&](Index i) { max = math::larger(max, x[i]); });
  max = team_join(teams, max, scratch, [](T a, T b) { return math::larger(a, b); });

  const auto add = [](T a, T b) { return a + b; };
  T total(0);
  each([&](Index i) {
    const T size = math::softmax_size(x[i], max);
    out[i] = size;
    total = total + size;
  });
  total = team_join(teams, total, scratch, add);

  T sum(0);
  if constexpr (Task::sums) {
    each([&](Index i) { sum = sum + task.summand(out[i] / total, G[i]); });
    sum = team_join(teams, sum, scratch, add);
  }
  each([&](Index i) { out[i] = task.answer(Member<T>{x[i], max, total, out[i] / total, Task::sums ? G[i] : T(0), sum}); });
}

template <class T, class Task>
void run(const char* operation, Stream stream, const SoftmaxMap& map, const Task& task, const T* x, const T* G, T* out) {
  const Teams teams = teams_for(map.length, map.inner, map.inner > 1);
  launch(operation, stream, teams.shape(map.outer * map.inner, room<T>(0, Teams::threads)), &softmax_kernel<T, Task>, task, map, teams, x,
         G, out);
}

}  // namespace

template <class T>
void softmax_forward(const char* operation, Stream stream, const SoftmaxMap& map, const T* x, T* p) {
  run<T>(operation, stream, map, Forward{}, x, nullptr, p);
}

template <class T>
void softmax_gradient(const char* operation, Stream stream, const SoftmaxMap& map, const T* x, const T* G, T* G_x) {
  run<T>(operation, stream, map, Gradient{}, x, G, G_x);
}

template <class T>
void log_softmax_forward(const char* operation, Stream stream, const SoftmaxMap& map, const T* x, T* y) {
  run<T>(operation, stream, map, LogForward{}, x, nullptr, y);
}

template <class T>
void log_softmax_gradient(const char* operation, Stream stream, const SoftmaxMap& map, const T* x, const T* G, T* G_x) {
  run<T>(operation, stream, map, LogGradient{}, x, G, G_x);
}

template <class T>
void log_softmax_tangent(const char* operation, Stream stream, const SoftmaxMap& map, const T* x, const T* dx, T* dy) {
  run<T>(operation, stream, map, LogTangent{}, x, dx, dy);
}

#define RELPROP_INSTANTIATE(T)                                                                              \
  template void softmax_forward(const char*, Stream, const SoftmaxMap&, const T*, T*);                      \
  template void softmax_gradient(const char*, Stream, const SoftmaxMap&, const T*, const T*, T*);           \
  template void log_softmax_forward(const char*, Stream, const SoftmaxMap&, const T*, T*);                  \
  template void log_softmax_gradient(const char*, Stream, const SoftmaxMap&, const T*, const T*, T*);       \
  template void log_softmax_tangent(const char*, Stream, const SoftmaxMap&, const T*, const T*, T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cuda
