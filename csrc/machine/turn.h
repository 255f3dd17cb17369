// Columns of a matrix as rows: numbers that move, and nothing that is computed.
#pragma once

#include <algorithm>

#include "machine/registers.h"

namespace relprop::machine {
namespace {  // each instruction set has its own copy

#ifdef RELPROP_SHUFFLES
// Of rows i and i + half, the halves of each pair of `half` lanes that belong to the other are exchanged: once for each
// power of two, and columns are rows.
template <class T, Index half, class Vector, int... lane>
RELPROP_INLINE void exchange(Vector& a, Vector& b, Each<lane...>) {
  constexpr int count = lanes<T>, by = half;
  const Vector before = a;
  a = __builtin_shufflevector(before, b, ((lane & by) == 0 ? lane : count + lane - by)...);
  b = __builtin_shufflevector(before, b, ((lane & by) == 0 ? lane + by : count + lane)...);
}
template <class T, Index half, class Vector>
RELPROP_INLINE void exchange(Vector* rows) {
  if constexpr (half < lanes<T>) {
    for (Index i = 0; i < lanes<T>; ++i)
      if ((i & half) == 0) exchange<T, half>(rows[i], rows[i + half], Counted<lanes<T>>{});
    exchange<T, 2 * half>(rows);
  }
}
#endif

// Column k < count of a square of `lanes` rows, `row` apart, is written to out[to[k] · step], as one register.
template <class T>
RELPROP_INLINE void transpose(const T* from, Index row, Index count, T* out, const Index* to, Index step) {
#ifdef RELPROP_SHUFFLES
  using Vector = typename Register<T>::type;
  Vector rows[lanes<T>];
  for (Index i = 0; i < lanes<T>; ++i) rows[i] = read<Vector>(from + i * row);
  exchange<T, 1>(rows);
  for (Index k = 0; k < count; ++k) write(rows[k], out + to[k] * step);
#else
  for (Index k = 0; k < count; ++k)
    for (Index i = 0; i < lanes<T>; ++i) out[to[k] * step + i] = from[i * row + k];
#endif
}

// Row j of `to` is column j of `from` (rows, columns); rows of both lie apart.
template <class T>
void turn(Index rows, Index columns, const T* from, Index from_row, T* to, Index to_row) {
  constexpr Index side = lanes<T>, at_once = 4 * side;  // columns: lines next to one another are asked for together
  Index each[side];
  for (Index k = 0; k < side; ++k) each[k] = k;
  for (Index first = 0; first < columns; first += at_once)
    for (Index i = 0; i < rows; i += side)
      for (Index j = first; j < std::min(columns, first + at_once); j += side) {
        if (i + side <= rows && j + side <= columns) {
          transpose(from + i * from_row + j, from_row, side, to + j * to_row + i, each, to_row);
          continue;
        }
        for (Index k = j; k < std::min(columns, j + side); ++k)
          for (Index l = i; l < std::min(rows, i + side); ++l) to[k * to_row + l] = from[l * from_row + k];
      }
}

}  // namespace
}  // namespace relprop::machine
