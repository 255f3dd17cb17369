// The product of a panel of weights, each of which meets a whole register, and a panel of sources.
#pragma once

#include "machine/registers.h"

namespace relprop::machine {
namespace {  // each instruction set has its own copy

// The product of `most_rows` rows of weights and `across` registers of places stays in registers.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int most_rows = 8;
#else
constexpr int most_rows = 4;
#endif
constexpr int across = 3;

template <class T>
constexpr Index width = across * lanes<T>;  // places of a product

// Element (i, k) of a panel, k = outer · inners + inner, is data[i · row + outer · outer_step + at[inner]]. It meets row
// outer · rows + met[inner] - first of the sources.
template <class T>
struct Weights {
  const T* data;
  Index row, outers, outer_step, inners;
  const Index *at, *met;
  Index rows, first;
};

// sums (rows, registers) (+)= weights (rows, k) · sources (k, registers); rows of sources lie `stride` apart, those of sums
// `apart`
template <class Vector, int rows, int registers, class T, int... v, int... i>
void multiply(const Weights<T>& weights, const T* sources, Index stride, T* sums, Index apart, bool add, Each<v...>, Each<i...>) {
  constexpr Index length = sizeof(Vector) / sizeof(T);
  struct {
    Vector of[rows * registers];
  } sum;
  ((sum.of[i] = add ? read<Vector>(sums + i / registers * apart + i % registers * length) : Vector{}), ...);
  const Index row = weights.row, inners = weights.inners;
  const Index *at = weights.at, *met = weights.met;
  for (Index outer = 0; outer < weights.outers; ++outer) {
    const T* w = weights.data + outer * weights.outer_step;
    const T* from = sources + (outer * weights.rows - weights.first) * stride;
    for (Index inner = 0; inner < inners; ++inner) {
      const T* source = from + met[inner] * stride;
      const Vector seen[registers] = {read<Vector>(source + v * length)...};
      const T* here = w + at[inner];
      ((sum.of[i] += here[i / registers * row] * seen[i % registers]), ...);
    }
  }
  (write(sum.of[i], sums + i / registers * apart + i % registers * length), ...);
}

template <class Vector, int rows, int registers, class T>
void multiply(const Weights<T>& weights, const T* sources, Index stride, T* sums, Index apart, bool add) {
  multiply<Vector, rows, registers>(weights, sources, stride, sums, apart, add, Counted<registers>{}, Counted<rows * registers>{});
}

template <int rows, class T>
void multiply(Index places, const Weights<T>& weights, const T* sources, Index stride, T* sums, Index apart, bool add) {
  using Vector = typename Register<T>::type;
  if (places <= lanes<T> / 2) return multiply<typename Half<T>::type, rows, 1>(weights, sources, stride, sums, apart, add);
  if (places <= lanes<T>) return multiply<Vector, rows, 1>(weights, sources, stride, sums, apart, add);
  if (places <= 2 * lanes<T>) return multiply<Vector, rows, 2>(weights, sources, stride, sums, apart, add);
  multiply<Vector, rows, 3>(weights, sources, stride, sums, apart, add);
}

// As many whole registers, or half of one, as hold so many places, up to `width`; each sum has the same bits in any.
template <class T>
void multiply(Index rows, Index places, const Weights<T>& weights, const T* sources, Index stride, T* sums, Index apart, bool add) {
  if constexpr (most_rows == 8)
    if (rows == 8) return multiply<8>(places, weights, sources, stride, sums, apart, add);
  if (rows == 4) return multiply<4>(places, weights, sources, stride, sums, apart, add);
  if (rows == 3) return multiply<3>(places, weights, sources, stride, sums, apart, add);
  if (rows == 2) return multiply<2>(places, weights, sources, stride, sums, apart, add);
  multiply<1>(places, weights, sources, stride, sums, apart, add);
}

// The most rows that one product takes when `left` are left.
inline Index rows_at_once(Index left) {
  return left >= most_rows ? most_rows : left >= 4 ? 4 : left;
}

}  // namespace
}  // namespace relprop::machine
