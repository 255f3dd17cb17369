// Matrix products through BLAS, row-major, counted.
#pragma once

#include "machine/memory.h"

namespace relprop::machine {

// Row-major: element (r, c) is data[r · stride + c], or data[c · stride + r] where transposed.
template <class T>
struct Matrix {
  const T* data;
  Index rows, columns, stride;
  bool transposed = false;

  Matrix flipped() const { return {data, columns, rows, stride, !transposed}; }
};

// C = A B, or C += A B where add; C (A.rows, B.columns) with its rows `stride` apart. Sizes may be 0.
template <class T>
void product(const Matrix<T>& A, const Matrix<T>& B, T* C, Index stride, bool add = false);

int blas_threads();
void set_blas_threads(int count);
const char* blas_name();

}  // namespace relprop::machine
