// Rows of a table by their ids, on the device. Mirrors pyref/layers/embedding.py; pointers are to device memory.
#pragma once

#include "machine/cuda/memory.h"

namespace relprop::cuda {

// y (count, width): rows ids (count) of table (rows, width). Whether every id is a row, else y is unread; waits for the
// answer.
template <class T>
bool embedding_forward(const char* operation, Stream stream, Index count, Index rows, Index width, const Index* ids, const T* table,
                       T* y);

}  // namespace relprop::cuda
