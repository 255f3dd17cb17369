#include "cuda/arithmetic.h"

#include "cuda/shape.cuh"
#include "machine/cuda/block.cuh"
#include "math/numerics.h"

namespace relprop::cuda {

namespace {

template <class T>
HD T load(const void* data, Type type, Index place) {
  switch (type) {
    case Type::boolean: return static_cast<T>(static_cast<const std::uint8_t*>(data)[place] != 0);
    case Type::int32: return static_cast<T>(static_cast<const std::int32_t*>(data)[place]);
    case Type::int64: return static_cast<T>(static_cast<const std::int64_t*>(data)[place]);
    case Type::float32: return static_cast<T>(static_cast<const float*>(data)[place]);
    default: return static_cast<T>(static_cast<const double*>(data)[place]);
  }
}

template <class T>
HD void store(void* data, Type type, Index place, T value) {
  switch (type) {
    case Type::boolean: static_cast<std::uint8_t*>(data)[place] = value != 0; break;
    case Type::int32: static_cast<std::int32_t*>(data)[place] = static_cast<std::int32_t>(value); break;
    case Type::int64: static_cast<std::int64_t*>(data)[place] = static_cast<std::int64_t>(value); break;
    case Type::float32: static_cast<float*>(data)[place] = static_cast<float>(value); break;
    default: static_cast<double*>(data)[place] = static_cast<double>(value);
  }
}

template <class T>
struct Elementwise {
  Operation operation;
  int count;
  Operand operands[3];
  Target target;
  HD void operator()(Index i) const {
    Index rest = i, places[3] = {0, 0, 0}, place = 0;
    for (int d = target.layout.rank - 1; d >= 0; --d) {
      const Index along = d ? remainder(rest, target.layout.shape[d]) : rest;
      rest = d ? quotient(rest, target.layout.shape[d]) : 0;
      place += along * target.layout.strides[d];
      for (int k = 0; k < 3; ++k) places[k] += along * operands[k].strides[d];
    }
    T v[3] = {T(0), T(0), T(0)};
    UNROLL
    for (int k = 0; k < 3; ++k) {
      if (k >= count) continue;
      v[k] = operands[k].data ? load<T>(operands[k].data, operands[k].type, places[k]) : static_cast<T>(operands[k].number);
    }
    store(target.data, target.type, place, math::arithmetic(operation, i, v[0], v[1], v[2]));
  }
};

// Axes that lie one after the other in every array become one; those of length 1 go.
void join_axes(int count, Operand (&operands)[3], Layout& layout) {
  int rank = 0;
  for (int d = 0; d < layout.rank; ++d) {
    if (layout.shape[d] == 1) continue;
    const auto fits = [&](const Index* strides) { return rank > 0 && strides[rank - 1] == strides[d] * layout.shape[d]; };
    bool joins = fits(layout.strides);
    for (int k = 0; k < count; ++k) joins = joins && fits(operands[k].strides);
    const int to = joins ? rank - 1 : rank++;
    layout.shape[to] = (joins ? layout.shape[to] : 1) * layout.shape[d];
    layout.strides[to] = layout.strides[d];
    for (int k = 0; k < count; ++k) operands[k].strides[to] = operands[k].strides[d];
  }
  layout.rank = rank;
}

// A number and where it was found; nothing yet where place < 0.
template <class T>
struct Found {
  T value;
  Index place;
};

template <class T>
HD Found<T> joined(Reduction reduction, const Found<T>& a, const Found<T>& b) {
  if (a.place < 0 || b.place < 0) return a.place < 0 ? b : a;
  switch (reduction) {
    case Reduction::sum: return {a.value + b.value, a.place};
    case Reduction::max: return {math::larger(a.value, b.value), a.place};
    case Reduction::min: return {math::smaller(a.value, b.value), a.place};
    case Reduction::any: return {T(a.value != 0 || b.value != 0), a.place};
    case Reduction::all:
    case Reduction::finite: return {T(a.value != 0 && b.value != 0), a.place};
    default: break;
  }
  // The first of the largest; what is not a number counts as largest, and as smallest.
  const bool b_is_nan = b.value != b.value, a_is_nan = a.value != a.value;
  const bool alike = a.value == b.value || (a_is_nan && b_is_nan);
  const bool wins = !a_is_nan && (b_is_nan || (reduction == Reduction::argmax ? b.value > a.value : b.value < a.value));
  return (alike ? b.place < a.place : wins) ? b : a;
}

template <class T>
struct Reduce {
  Reduction reduction;
  Operand from;
  Layout kept, reduced;
  Target target;

  // Over every step-th place from `first` on.
  HD Found<T> over(Index i, Index first, Index step) const {
    const Index start = place_of(kept, i), count = reduced.size();
    Found<T> found{T(0), -1};
    for (Index k = first; k < count; k += step) {
      const T value = load<T>(from.data, from.type, start + place_of(reduced, k));
      found = joined(reduction, found, {reduction == Reduction::finite ? T(value - value == 0) : value, k});
    }
    return found;
  }
  HD void write(Index i, const Found<T>& found) const {
    const bool wants_place = reduction == Reduction::argmax || reduction == Reduction::argmin;
    const T nothing = T(reduction == Reduction::all || reduction == Reduction::finite);
    store(target.data, target.type, i, wants_place ? static_cast<T>(found.place) : found.place < 0 ? nothing : found.value);
  }
  HD void operator()(Index i) const { write(i, over(i, 0, 1)); }
};

constexpr int reduce_threads = 128;

// One block for each result: neighbouring threads take neighbouring places, and then join in halves.
template <class T>
__global__ void reduce_kernel(const Reduce<T> task) {
  Shared shared;
  auto values = shared.take<T>(reduce_threads);
  auto places = shared.take<Index>(reduce_threads);
  const int thread = static_cast<int>(threadIdx.x);
  Found<T> mine = task.over(Index(blockIdx.x), thread, reduce_threads);
  values[thread] = mine.value;
  places[thread] = mine.place;
  for (int half = reduce_threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread >= half) continue;
    mine = joined(task.reduction, mine, Found<T>{values[thread + half], places[thread + half]});
    values[thread] = mine.value;
    places[thread] = mine.place;
  }
  if (thread == 0) task.write(Index(blockIdx.x), mine);
}

struct Matmul {
  Operand a, b;
  Index depth, a_step, b_step;
  Target target;
  HD void operator()(Index i) const {
    Index rest = i, first = 0, second = 0, place = 0;
    for (int d = target.layout.rank - 1; d >= 0; --d) {
      const Index along = remainder(rest, target.layout.shape[d]);
      rest = quotient(rest, target.layout.shape[d]);
      first += along * a.strides[d];
      second += along * b.strides[d];
      place += along * target.layout.strides[d];
    }
    double sum = 0;
    for (Index k = 0; k < depth; ++k)
      sum = sum + load<double>(a.data, a.type, first + k * a_step) * load<double>(b.data, b.type, second + k * b_step);
    store(target.data, target.type, place, sum);
  }
};

template <class Word>
struct Take {
  const Index* rows;
  Index length, size;
  const Word* from;
  Word* to;
  bool puts;
  HD void operator()(Index i) const {
    Index row = rows[quotient(i, size)] % length;
    row = (row < 0 ? row + length : row) * size + remainder(i, size);
    if (puts)
      to[row] = from[i];
    else
      to[i] = from[row];
  }
};

}  // namespace

template <class T>
void elementwise(const char* name, Stream stream, Operation operation, int count, const Operand (&operands)[3], const Target& target) {
  Elementwise<T> task{operation, count, {operands[0], operands[1], operands[2]}, target};
  const Index size = target.layout.size();
  join_axes(count, task.operands, task.target.layout);
  for_each_element(name, stream, size, task);
}

template <class T>
void reduce(const char* name, Stream stream, Reduction reduction, const Operand& from, const Layout& kept, const Layout& reduced,
            const Target& target) {
  Reduce<T> task{reduction, from, kept, reduced, target};
  Operand none[3];
  join_axes(0, none, task.kept);
  join_axes(0, none, task.reduced);
  if (reduced.size() < reduce_threads / 4)
    for_each_element(name, stream, kept.size(), task);
  else
    launch(name, stream,
           {dim3(static_cast<unsigned>(kept.size())), dim3(reduce_threads), room<Index>(room<T>(0, reduce_threads), reduce_threads)},
           &reduce_kernel<T>, task);
}

void matmul(const char* name, Stream stream, const Operand& a, const Operand& b, Index depth, Index a_step, Index b_step,
            const Target& target) {
  const Index size = target.layout.size();
  for_each_element(name, stream, size, Matmul{a, b, depth, a_step, b_step, target});
  count_product(2 * size * depth);
}

void take(const char* name, Stream stream, const Index* rows, Index count, Index length, Index size, int width, const void* from, void* to,
          bool puts) {
  const auto run = [&](auto word) {
    using Word = decltype(word);
    for_each_element(name, stream, count * size,
                     Take<Word>{rows, length, size, static_cast<const Word*>(from), static_cast<Word*>(to), puts});
  };
  if (width == 1)
    run(std::uint8_t{});
  else if (width == 4)
    run(std::uint32_t{});
  else
    run(std::uint64_t{});
}

#define RELPROP_INSTANTIATE(T) \
  template void elementwise<T>(const char*, Stream, Operation, int, const Operand (&)[3], const Target&);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)
RELPROP_INSTANTIATE(Index)
#undef RELPROP_INSTANTIATE
#define RELPROP_INSTANTIATE(T) \
  template void reduce<T>(const char*, Stream, Reduction, const Operand&, const Layout&, const Layout&, const Target&);
RELPROP_INSTANTIATE(double)
RELPROP_INSTANTIATE(Index)

}  // namespace relprop::cuda
