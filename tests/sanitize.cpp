// Kernels of the CPU on arrays of exactly their size and random shapes, for tests/sanitize.sh: a read or write beyond
// an array, or undefined behaviour, ends the program. What they compute is judged by the parity tests.
#include <cstdio>
#include <memory>
#include <random>
#include <vector>

#include "relprop/activation.h"
#include "relprop/aggregate.h"
#include "relprop/batchnorm.h"
#include "relprop/embedding.h"
#include "relprop/merge.h"
#include "relprop/pool.h"
#include "relprop/reduce.h"
#include "relprop/softmax.h"

using namespace relprop;
using namespace relprop::cpu;

namespace {

std::mt19937 generator(1);

Index draw(Index least, Index most) { return std::uniform_int_distribution<Index>(least, most)(generator); }

// Quarters, so that ties and zeros are common.
template <class T>
std::unique_ptr<T[]> array(Index size) {
  std::unique_ptr<T[]> v(new T[static_cast<std::size_t>(size)]);
  for (Index i = 0; i < size; ++i) v[static_cast<std::size_t>(i)] = static_cast<T>(draw(-4, 4)) / 4;
  return v;
}

template <class T>
AnyRule<T> draw_rule() {
  math::Epsilon<T> epsilon{};
  epsilon.bias = static_cast<math::Bias>(draw(0, 3));
  math::AlphaBeta<T> alpha_beta{};
  alpha_beta.alpha = 2;
  alpha_beta.beta = 1;
  math::Gamma<T> gamma{};
  gamma.gamma = 1;
  const AnyRule<T> rules[] = {epsilon, gamma, alpha_beta, math::ZPlus<T>{}, math::WSquare<T>{}, math::Flat<T>{}, math::Norm<T>{}};
  return rules[draw(0, 6)];
}

// What a relevance function may write for the ledger.
template <class T>
struct Kept {
  std::unique_ptr<T[]> bias, stabilizer, dropped;
  Account<T> account;

  Kept(Index samples, Index outputs)
      : bias(array<T>(samples * outputs)), stabilizer(array<T>(samples)), dropped(array<T>(samples)),
        account{bias.get(), stabilizer.get(), dropped.get()} {}
  const Account<T>* get() const { return draw(0, 1) ? &account : nullptr; }
};

template <class T>
const T* read(const std::unique_ptr<T[]>& v) {
  return v.get();
}

template <class T>
void pool() {
  PoolSize size{draw(0, 3), draw(0, 3), {}};
  Windows& w = size.windows;
  Index lengths = 1, counts = 1;
  for (int a = 0; a < window_axes; ++a) {
    w.kernel[a] = draw(1, 4);
    w.stride[a] = draw(1, 4);
    w.dilation[a] = draw(1, 3);
    w.before[a] = draw(0, (w.kernel[a] - 1) / 2);
    const Index span = (w.kernel[a] - 1) * w.dilation[a] + 1;
    w.lengths[a] = span + draw(0, 5);
    w.counts[a] = (w.lengths[a] + w.before[a] - span) / w.stride[a] + 1;
    lengths *= w.lengths[a];
    counts *= w.counts[a];
  }
  const Index planes = size.samples * size.channels;
  const auto ties = static_cast<math::Ties>(draw(0, 2));
  const auto x = array<T>(planes * lengths), x0 = array<T>(size.channels * lengths), G = array<T>(planes * counts);
  const auto to_x = array<T>(planes * lengths), to_y = array<T>(planes * counts), of_sample = array<T>(size.samples);
  max_pool_forward(size, read(x), to_y.get());
  max_pool_gradient(size, ties, read(x), read(G), of_sample.get(), to_x.get());
  max_pool_tangent(size, ties, read(x), read(x), to_y.get());
  max_pool_multiplier(size, ties, read(x), read(x0), true, read(G), to_x.get());
  max_pool_ray(size, read(x), read(x), to_y.get(), of_sample.get());
}

template <class T>
void reduce() {
  const int rank = static_cast<int>(draw(1, 3));
  std::vector<BoxAxis> axes;
  std::vector<std::vector<Index>> start(3), stop(3);
  Index lengths = 1, counts = 1;
  for (std::size_t a = 0; a < static_cast<std::size_t>(rank); ++a) {
    const Index length = draw(1, 40);
    const bool is_one_place = draw(0, 3) == 0;
    const Index count = is_one_place ? length : draw(1, 7);
    for (Index o = 0; o < count; ++o) {
      start[a].push_back(draw(0, length - 1));
      stop[a].push_back(draw(start[a].back() + 1, length));
    }
    axes.push_back({length, count, is_one_place ? nullptr : start[a].data(), is_one_place ? nullptr : stop[a].data()});
    lengths *= length;
    counts *= count;
  }
  const BoxSize size{draw(0, 2), draw(0, 2), rank, axes.data()};
  const Index channels = size.samples * size.channels;
  const auto x = array<T>(channels * lengths), w = array<T>(counts), z = array<T>(channels * counts), r = array<T>(channels * lengths);
  const Kept<T> kept(size.samples, 0);
  reduce_forward(size, read(x), read(w), z.get());
  reduce_gradient(size, read(w), read(z), r.get());
  reduce_relevance(size, read(x), read(w), read(z), draw_rule<T>(), Bounds<T>{}, read(z), kept.get(), r.get());
}

template <class T>
void merge() {
  const SumSize size{draw(0, 3), draw(0, 600)};
  const Index all = size.samples * size.size;
  const auto x = array<T>(all), y = array<T>(all), R = array<T>(all), r = array<T>(all), s = array<T>(all), one = array<T>(1),
             each = array<T>(size.size), bias = array<T>(size.size), dropped = array<T>(size.samples);
  const Kept<T> kept(size.samples, size.size);
  const SumTerm<T> terms[] = {{x.get(), one.get(), std::max<Index>(1, size.size), r.get()}, {y.get(), each.get(), 1, s.get()}};
  const SumTerm<T>* first = terms;
  merge_forward(size, first, 2, read(bias), s.get());
  merge_relevance(size, first, 2, read(bias), read(R), draw_rule<T>(), Bounds<T>{}, static_cast<const T*>(nullptr), kept.get());
  multiply_relevance(size, read(x), read(y), read(R), static_cast<math::Gate>(draw(0, 4)), dropped.get(), r.get(), s.get());
}

template <class T>
void batchnorm() {
  const BatchNormSize size{draw(0, 3), draw(0, 5), draw(0, 400)};
  const Index outputs = size.channels * size.positions, all = size.samples * outputs;
  const auto x = array<T>(all), R = array<T>(all), r = array<T>(all), scale = array<T>(size.channels), shift = array<T>(size.channels);
  const Kept<T> kept(size.samples, outputs);
  batchnorm_forward(size, read(x), read(scale), read(shift), r.get());
  batchnorm_relevance(size, read(x), read(scale), read(shift), read(R), draw_rule<T>(), Bounds<T>{}, static_cast<const T*>(nullptr),
                      kept.get(), r.get());
}

template <class T>
void rows() {
  const SoftmaxSize size{draw(0, 3), draw(1, 70), draw(0, 1) ? draw(0, 130) : 1};
  const Index all = size.outer * size.length * size.inner;
  const auto x = array<T>(all), G = array<T>(all), y = array<T>(all);
  softmax_forward(size, read(x), y.get());
  softmax_gradient(size, read(x), read(G), y.get());
  log_softmax_forward(size, read(x), y.get());
  log_softmax_gradient(size, read(x), read(G), y.get());
  log_softmax_tangent(size, read(x), read(G), y.get());

  const AggregateSize graph{draw(0, 3), draw(0, 6), draw(0, 6), draw(0, 6)};
  const auto nodes = array<T>(graph.samples * graph.nodes * graph.channels), A = array<T>(graph.after * graph.nodes),
             z = array<T>(graph.samples * graph.after * graph.channels), r = array<T>(graph.samples * graph.nodes * graph.channels);
  const Kept<T> kept(graph.samples, 0);
  aggregate_forward(graph, read(nodes), read(A), z.get());
  aggregate_gradient(graph, read(A), read(z), r.get());
  aggregate_relevance(graph, read(nodes), read(A), read(z), draw_rule<T>(), Bounds<T>{}, read(z), kept.get(), r.get());

  const Index count = draw(0, 9), words = draw(1, 5), width = draw(0, 5);
  const auto table = array<T>(words * width), found = array<T>(count * width);
  std::vector<Index> ids(static_cast<std::size_t>(count));
  for (Index& id : ids) id = draw(-1, words);
  embedding_forward(count, words, width, ids.data(), read(table), found.get());

  const ActivationOf<T> of{draw(0, 3), draw(0, 3), draw(0, 50), math::GELU<T>{}};
  const auto v = array<T>(of.size()), v0 = array<T>(of.channels * of.positions), a = array<T>(of.size());
  activation_forward(of, read(v), a.get());
  activation_quotient(of, read(v), read(v0), true, a.get());
}

template <class T>
void once() {
  pool<T>();
  reduce<T>();
  merge<T>();
  batchnorm<T>();
  rows<T>();
}

}  // namespace

int main() {
  for (int i = 0; i < 1000; ++i) {
    once<float>();
    once<double>();
  }
  std::puts("clean");
}
