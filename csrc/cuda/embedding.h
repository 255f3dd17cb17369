// Rows of a table by their ids, on the device. Mirrors pyref/layers/embedding.py; pointers are to device memory.
#pragma once

#include "machine/cuda/memory.h"

namespace relprop::cuda {

// y (count, width): rows ids (count) of table (rows, width), zeros for an id that is no row; outside: 1 where there is
// such an id, else 0.
template <class T>
void embedding_forward(const char* operation, Stream stream, Index count, Index rows, Index width, const Index* ids, const T* table,
                       T* y, Index* outside);

}  // namespace relprop::cuda
