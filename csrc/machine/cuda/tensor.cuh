// A warp's product of small matrices on tensor cores, in the precisions that they have.
//
//   C (16, 8) += A (16, k) · B (k, 8)        sums in float; k = 8 for tf32, 16 for bf16
//
// Every lane holds a piece of each matrix. With g = lane / 4 and t = lane % 4 (PTX ISA, matrix fragments):
//
//   C    c0, c1: row g, columns 2t and 2t + 1               c2, c3: row g + 8
//   tf32 a0: (g, t)   a1: (g + 8, t)   a2: (g, t + 4)   a3: (g + 8, t + 4)     b0: (t, g)   b1: (t + 4, g)
//   bf16 the same with k in pairs: (g, 2t) and (g, 2t + 1) in a0, … 8 further in a2; b0: (2t, g) and (2t + 1, g)
//
// The emulated device runs them too: machine/cuda/emulate/tensor.h.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

#include "math/hd.h"

#ifndef __CUDACC__
#include "machine/cuda/emulate/tensor.h"
#endif

namespace relprop::cuda {

namespace tensor {

using Word = std::uint32_t;

HD Word bits_of(float v) {
  Word w;
  memcpy(&w, &v, sizeof w);
  return w;
}
HD float float_of(Word w) {
  float v;
  memcpy(&v, &w, sizeof v);
  return v;
}
HD bool is_finite(float v) { return (bits_of(v) & 0x7f800000u) != 0x7f800000u; }

// The nearest number with 11 significant bits, a tie away from 0. What would round to infinity is cut off instead.
HD float to_tf32(float v) {
#ifdef __CUDA_ARCH__
  Word w;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(w) : "f"(v));
#else
  const Word w = is_finite(v) ? (bits_of(v) + 0x1000u) & ~0x1fffu : bits_of(v);
#endif
  return is_finite(float_of(w)) ? float_of(w) : float_of(bits_of(v) & ~0x1fffu);
}

// What tf32 leaves out of v, in tf32 again: v = high + low but for 2⁻²³ |v|. 0 where v is not finite.
HD float tf32_rest(float v, float high) { return is_finite(high) ? to_tf32(v - high) : float(0); }

// Two numbers with 8 significant bits in a word, the nearest ones, ties to even; the first in the lower half.
HD Word to_bf16(float first, float second) {
#ifdef __CUDA_ARCH__
  Word w;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(w) : "f"(second), "f"(first));
  return w;
#else
  const auto half = [](float v) -> Word {
    const Word w = bits_of(v);
    return v != v ? 0x7fffu : (w + 0x7fffu + (w >> 16 & 1u)) >> 16;
  };
  return half(first) | half(second) << 16;
#endif
}

}  // namespace tensor

// c += A B with A (16, 8) and B (8, 8) in tf32
__device__ inline void multiply_tf32(float (&c)[4], const float (&a)[4], const float (&b)[2]) {
  using namespace tensor;
  const Word A[4] = {bits_of(a[0]), bits_of(a[1]), bits_of(a[2]), bits_of(a[3])}, B[2] = {bits_of(b[0]), bits_of(b[1])};
#ifdef __CUDACC__
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(A[0]), "r"(A[1]), "r"(A[2]), "r"(A[3]), "r"(B[0]), "r"(B[1]));
#else
  emulate::multiply(c, A, B, false);
#endif
}

// c += A B with A (16, 16) and B (16, 8) in bf16
__device__ inline void multiply_bf16(float (&c)[4], const tensor::Word (&a)[4], const tensor::Word (&b)[2]) {
#ifdef __CUDACC__
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  emulate::multiply(c, a, b, true);
#endif
}

}  // namespace relprop::cuda
