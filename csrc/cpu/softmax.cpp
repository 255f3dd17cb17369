#include "relprop/softmax.h"

#include <algorithm>
#include <limits>

#include "machine/threads.h"
#include "math/softmax.h"

namespace relprop::cpu {
namespace {

constexpr Index grain = 1 << 12, most_columns = 64, lanes = 16;

// Some columns side by side, of `length` numbers each, `inner` apart.
struct Columns {
  Index first, count, length, inner;

  // f(place, column) for every number
  template <class F>
  void each(F&& f) const {
    if (inner == 1)
      for (Index c = 0; c < length; ++c) f(first + c, 0);
    else
      for (Index c = 0; c < length; ++c)
        for (Index j = 0; j < count; ++j) f(first + c * inner + j, j);
  }

  // out (count): value(place) of a column's numbers, joined
  template <class T, class Value, class Join>
  void reduce(T* out, T start, Value&& value, Join&& join) const {
    std::fill_n(out, count, start);
    Index c = 0;
    if (inner == 1) {
      T part[lanes];
      std::fill_n(part, lanes, start);
      for (; c + lanes <= length; c += lanes)
        for (Index k = 0; k < lanes; ++k) part[k] = join(part[k], value(first + c + k));
      for (Index k = 0; k < lanes; ++k) out[0] = join(out[0], part[k]);
    }
    for (; c < length; ++c)
      for (Index j = 0; j < count; ++j) out[j] = join(out[j], value(first + c * inner + j));
  }

  template <class T, class Value>
  void add(T* out, Value&& value) const {
    reduce(out, T(0), value, [](T a, T b) { return a + b; });
  }
};

template <class F>
void for_each_columns(const SoftmaxSize& size, F&& f) {
  const Index blocks = (size.inner + most_columns - 1) / most_columns;
  const Index work = std::max<Index>(1, size.length * std::min(size.inner, most_columns));
  machine::parallel(size.outer * blocks, std::max<Index>(1, grain / work), [&](Index from, Index to) {
    for (Index i = from; i < to; ++i) {
      const Index j = i % blocks * most_columns;
      f(Columns{i / blocks * size.length * size.inner + j, std::min(most_columns, size.inner - j), size.length, size.inner});
    }
  });
}

template <class T>
void find_maxima(const Columns& at, const T* x, T* max) {
  at.reduce(max, -std::numeric_limits<T>::infinity(), [=](Index i) { return x[i]; }, [](T a, T b) { return math::larger(a, b); });
}

// max and total of each column; sizes: what is added to the total
template <class T>
void add_sizes(const Columns& at, const T* x, T* max, T* total, T* sizes) {
  find_maxima(at, x, max);
  at.each([&](Index i, Index j) { sizes[i] = math::softmax_size(x[i], max[j]); });
  at.add(total, [=](Index i) { return sizes[i]; });
}

template <class T>
void softmax(const Columns& at, const T* x, T* p) {
  T max[most_columns], total[most_columns];
  add_sizes(at, x, max, total, p);
  at.each([&](Index i, Index j) { p[i] /= total[j]; });
}

}  // namespace

template <class Isa, class T>
void for_isa::softmax_forward(Isa, const SoftmaxSize& size, const T* x, T* p) {
  for_each_columns(size, [=](const Columns& at) { softmax(at, x, p); });
}

template <class Isa, class T>
void for_isa::softmax_gradient(Isa, const SoftmaxSize& size, const T* x, const T* G, T* G_x) {
  for_each_columns(size, [=](const Columns& at) {
    T dot[most_columns];
    softmax(at, x, G_x);
    at.add(dot, [=](Index i) { return G_x[i] * G[i]; });
    at.each([&](Index i, Index j) { G_x[i] = math::softmax_gradient(G_x[i], G[i], dot[j]); });
  });
}

template <class Isa, class T>
void for_isa::log_softmax_forward(Isa, const SoftmaxSize& size, const T* x, T* y) {
  for_each_columns(size, [=](const Columns& at) {
    T max[most_columns], total[most_columns];
    add_sizes(at, x, max, total, y);
    at.each([&](Index i, Index j) { y[i] = math::log_softmax(x[i], max[j], total[j]); });
  });
}

template <class Isa, class T>
void for_isa::log_softmax_gradient(Isa, const SoftmaxSize& size, const T* x, const T* G, T* G_x) {
  for_each_columns(size, [=](const Columns& at) {
    T sum[most_columns];
    softmax(at, x, G_x);
    at.add(sum, [=](Index i) { return G[i]; });
    at.each([&](Index i, Index j) { G_x[i] = math::log_softmax_gradient(G_x[i], G[i], sum[j]); });
  });
}

template <class Isa, class T>
void for_isa::log_softmax_tangent(Isa, const SoftmaxSize& size, const T* x, const T* dx, T* dy) {
  for_each_columns(size, [=](const Columns& at) {
    T dot[most_columns];
    softmax(at, x, dy);
    at.add(dot, [=](Index i) { return dy[i] * dx[i]; });
    at.each([&](Index i, Index j) { dy[i] = dx[i] - dot[j]; });
  });
}

#define RELPROP_INSTANTIATE(T)                                                                                       \
  template void for_isa::softmax_forward(machine::RELPROP_ISA, const SoftmaxSize&, const T*, T*);                    \
  template void for_isa::softmax_gradient(machine::RELPROP_ISA, const SoftmaxSize&, const T*, const T*, T*);         \
  template void for_isa::log_softmax_forward(machine::RELPROP_ISA, const SoftmaxSize&, const T*, T*);                \
  template void for_isa::log_softmax_gradient(machine::RELPROP_ISA, const SoftmaxSize&, const T*, const T*, T*);     \
  template void for_isa::log_softmax_tangent(machine::RELPROP_ISA, const SoftmaxSize&, const T*, const T*, T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cpu
