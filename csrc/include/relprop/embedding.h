// Rows of a table by their ids, on the CPU. Mirrors pyref/layers/embedding.py; T is float or double.
#pragma once

#include "machine/isa.h"
#include "machine/memory.h"

namespace relprop::cpu::for_isa {

// y (count, width): rows ids (count) of table (rows, width). is_inside: whether every id is a row; else y is unread.
template <class Isa, class T>
void embedding_forward(Isa, Index count, Index rows, Index width, const Index* ids, const T* table, T* y, bool& is_inside);

}  // namespace relprop::cpu::for_isa

namespace relprop::cpu {

// Whether every id is a row.
template <class T>
bool embedding_forward(Index count, Index rows, Index width, const Index* ids, const T* table, T* y) {
  bool is_inside = true;
  machine::with_isa([&](auto tag) { for_isa::embedding_forward(tag, count, rows, width, ids, table, y, is_inside); });
  return is_inside;
}

}  // namespace relprop::cpu
