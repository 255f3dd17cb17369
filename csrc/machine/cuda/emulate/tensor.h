// What a warp's tensor cores do, on the host: the lanes meet, and each sums its own elements from the others' fragments
// (their layout: machine/cuda/tensor.cuh). Products are exact, and a sum is cut off to a float, as the hardware does.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "grid.h"

namespace emulate {

inline float float_of(std::uint32_t bits) {
  float v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

// One lane's fragments, for the others to read while all of them wait.
struct Fragments {
  const std::uint32_t *a, *b;
};

// Element k of a row of A, or of a column of B: `lower` holds those below half, `upper` the others.
inline float element(const std::uint32_t* lower, const std::uint32_t* upper, int k, bool pairs) {
  const std::uint32_t word = *(k < (pairs ? 8 : 4) ? lower : upper);
  if (!pairs) return float_of(word);
  return float_of(k % 2 ? word & 0xffff0000u : word << 16);
}

// c += A B of the calling lane, which every lane of the warp calls. pairs: two numbers in bf16 to a word, else one in tf32
inline void multiply(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], bool pairs) {
  const Fragments own{a, b};
  const std::uint64_t* words = gather(~0u, reinterpret_cast<std::uintptr_t>(&own));
  const auto lane = [&](int l) { return reinterpret_cast<const Fragments*>(static_cast<std::uintptr_t>(words[l])); };
  const int self = static_cast<int>(here().thread.x) % warp_size, g = self / 4, t = self % 4;
  for (int i = 0; i < 4; ++i) {
    const int row = i / 2, column = 2 * t + i % 2;
    double sum = static_cast<double>(c[i]);
    for (int k = 0; k < (pairs ? 16 : 8); ++k) {
      const int holder = pairs ? k % 8 / 2 : k % 4;
      const std::uint32_t *A = lane(4 * g + holder)->a, *B = lane(4 * column + holder)->b;
      sum += static_cast<double>(element(A + row, A + 2 + row, k, pairs)) * static_cast<double>(element(B, B + 1, k, pairs));
    }
    c[i] = static_cast<float>(sum);
    if (std::isfinite(sum) && std::fabs(static_cast<double>(c[i])) > std::fabs(sum)) c[i] = std::nextafter(c[i], 0.0f);
  }
  meet(~0u, 0, Meeting::barrier);  // the others have read this lane's fragments
}

}  // namespace emulate
