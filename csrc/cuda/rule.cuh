// Shares under any rule on the device, apart from how a layer sums its parts. Mirrors pyref/rules/rule.py.
//
// What a rule gives to an output is a function of that output's sums alone, but for two things that run over a whole
// sample: the mean square of the stabiliser `rms`, and what an account is told. split_by_itself does both.
#pragma once

#include <type_traits>

#include "machine/cuda/block.cuh"
#include "machine/cuda/launch.cuh"
#include "relprop/account.h"
#include "relprop/rules.h"

namespace relprop::cuda {

using math::Factor;

// What some factors ask for: γ of `raised`; of a box its bounds, one per element of a sample.
template <class T>
struct Constants {
  T gamma;
  Bounds<T> bounds;
  math::OutOfRange out_of_range;
};

// The input part of x at a place of its sample.
template <class T>
HD T input_part(Factor factor, T x, Index place, const Constants<T>& constants) {
  if (factor != Factor::above_low && factor != Factor::below_high) return math::apply(factor, x);
  math::ZBox<T> box{};
  box.low = constants.bounds.low[place];
  box.high = constants.bounds.high[place];
  box.out_of_range = constants.out_of_range;
  return box.input_part(factor == Factor::above_low ? 0 : 1, x);
}

template <class T, class Rule>
Constants<T> constants_of(const Rule& rule, const Bounds<T>& bounds) {
  Constants<T> constants{T(0), bounds, math::OutOfRange::raise};
  if constexpr (std::is_same_v<Rule, math::Gamma<T>>) constants.gamma = rule.gamma;
  if constexpr (std::is_same_v<Rule, math::ZBox<T>>) constants.out_of_range = rule.out_of_range;
  return constants;
}

// A rule and the relevance that it shares.
template <class T, class Of>
struct Shares {
  using Rule = Of;
  static constexpr int denominators = Rule::denominators;

  Rule rule;
  const T* R;
  Index outputs;          // of a sample
  const T* mean_squares;  // denominators per sample, or null

  HD void acting(Index sample, T* e) const {
    for (int k = 0; k < denominators; ++k)
      e[k] = math::acting_epsilon(rule.epsilon, rule.stabilizer, mean_squares ? mean_squares[sample * denominators + k] : T(0));
  }
  HD void split(Index sample, int place, const T* z, T* s) const {
    T e[denominators];
    acting(sample, e);
    for (int p = 0; p < Rule::max_parts; ++p) s[p] = T(0);
    rule.split(R[sample * outputs + place], z, e, s);
  }
};

constexpr int split_threads = 256, chunk = 4 * split_threads;

// A Source is a Shares with
//   gather(sample, place, z)     the sums of an output
//   store(sample, place, s)      takes its shares
//   bias_share(place, s)         what the bias is given of them; asked where there is one
template <class T, class Source>
struct Staged {
  Source source;
  Index chunks;   // of a sample
  T* squares;     // denominators per chunk, or null
  double* kept;   // two per chunk, or null
  T* bias;        // the account's, or null
};

// f(sample, place, z) for every output of the block's chunk.
template <class T, class Source, class F>
__device__ inline void for_each_output(const Staged<T, Source>& task, F&& f) {
  const Index sample = blockIdx.x / task.chunks, first = blockIdx.x % task.chunks * chunk;
  for (int i = static_cast<int>(threadIdx.x); i < chunk; i += split_threads) {
    if (first + i >= task.source.outputs) break;
    const int place = static_cast<int>(first + i);
    T z[Source::Rule::max_parts];
    task.source.gather(sample, place, z);
    f(sample, place, z);
  }
}

template <class T, class Source>
__global__ void squares_kernel(const Staged<T, Source> task) {
  constexpr int denominators = Source::denominators;
  Shared shared;
  auto scratch = shared.take<T>(split_threads / warp);
  T sums[denominators] = {};
  for_each_output(task, [&](Index, int, const T* z) {
    for (int k = 0; k < denominators; ++k) {
      const T d = task.source.rule.denominator(k, z);
      sums[k] = sums[k] + d * d;
    }
  });
  for (int k = 0; k < denominators; ++k) {
    const T sum = block_sum<T>(sums[k], scratch);
    if (threadIdx.x == 0) task.squares[Index(blockIdx.x) * denominators + k] = sum;
  }
}

template <class T, class Source>
__global__ void split_kernel(const Staged<T, Source> task) {
  Shared shared;
  auto scratch = shared.take<double>(split_threads / warp);
  const Source& source = task.source;
  double by_stabilizer = 0, dropped = 0;
  for_each_output(task, [&](Index sample, int place, const T* z) {
    T s[Source::Rule::max_parts], e[Source::denominators], stabilizer_here, dropped_here;
    source.split(sample, place, z, s);
    source.store(sample, place, s);
    if (!task.kept) return;
    source.acting(sample, e);
    source.rule.kept(source.R[sample * source.outputs + place], z, e, stabilizer_here, dropped_here);
    by_stabilizer += static_cast<double>(stabilizer_here);
    dropped += static_cast<double>(dropped_here);
    if (task.bias) task.bias[sample * source.outputs + place] = source.bias_share(place, s);
  });
  if (!task.kept) return;
  const double first = block_sum<double>(by_stabilizer, scratch), second = block_sum<double>(dropped, scratch);
  if (threadIdx.x != 0) return;
  task.kept[2 * Index(blockIdx.x)] = first;
  task.kept[2 * Index(blockIdx.x) + 1] = second;
}

// out[row, k] = Σ over chunks of in[row, chunk, k], over count where that is not 1; one thread each, in order.
template <class In, class Out>
__global__ void finish_kernel(const In* in, Index rows, Index chunks, int width, Index count, Out* first, Out* second) {
  const Index i = Index(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= rows * width) return;
  const Index row = i / width;
  const int k = static_cast<int>(i % width);
  In sum(0);
  for (Index c = 0; c < chunks; ++c) sum = sum + in[(row * chunks + c) * width + k];
  if (count != 1) sum = sum / static_cast<In>(count);
  if (second)  // each k has an array of its own
    (k == 0 ? first : second)[row] = static_cast<Out>(sum);
  else
    first[i] = static_cast<Out>(sum);
}

template <class In, class Out>
void finish(const char* operation, Stream stream, const In* in, Index rows, Index chunks, int width, Index count, Out* first,
            Out* second) {
  launch(operation, stream, {blocks(rows * width, split_threads), split_threads}, &finish_kernel<In, Out>, in, rows, chunks, width,
         count, first, second);
}

// The shares of every output, and the account: null where nobody asks.
template <class T, class Source>
void split_by_itself(const char* operation, Stream stream, Index samples, const Source& source, const Account<T>* account) {
  constexpr int denominators = Source::denominators, warps = split_threads / warp;
  const Index chunks = (source.outputs + chunk - 1) / chunk, all = samples * chunks;
  const Shape shape{dim3(static_cast<unsigned>(all)), dim3(split_threads)};
  Staged<T, Source> task{source, chunks, nullptr, nullptr, nullptr};
  Numbers<T> squares, mean_squares;
  Numbers<double> kept;
  if (source.rule.stabilizer == math::Stabilizer::rms && all > 0) {
    squares = Numbers<T>(operation, all * denominators, stream);
    mean_squares = Numbers<T>(operation, samples * denominators, stream);
    task.squares = squares.data();
    launch(operation, stream, {shape.grid, shape.block, room<T>(0, warps)}, &squares_kernel<T, Source>, task);
    finish<T, T>(operation, stream, squares.data(), samples, chunks, denominators, source.outputs, mean_squares.data(), nullptr);
    task.source.mean_squares = mean_squares.data();
  }
  if (account) {
    kept = Numbers<double>(operation, all * 2, stream);
    task.kept = kept.data();
    task.bias = account->bias;
  }
  launch(operation, stream, {shape.grid, shape.block, room<double>(0, warps)}, &split_kernel<T, Source>, task);
  if (account) finish<double, T>(operation, stream, kept.data(), samples, chunks, 2, 1, account->stabilizer, account->dropped);
}

}  // namespace relprop::cuda
