// Whether x lies in the box of the z^B rule. Mirrors the check in pyref/rules/z_box.py.
#pragma once

#include "machine/cuda/memory.h"

namespace relprop::cuda {

// low ≤ x ≤ high for every element, x (samples, size), low and high (size); NaN passes. Waits for the answer.
template <class T>
bool is_inside_box(const char* operation, Stream stream, const T* x, Index samples, Index size, const T* low, const T* high);

}  // namespace relprop::cuda
