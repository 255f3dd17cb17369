// What one register of the instruction set that is being compiled holds, how it is read and written, and a hint to the caches.
#pragma once

#include <cstddef>
#include <cstring>

#include "machine/memory.h"

#ifdef __GNUC__
#define RELPROP_INLINE __attribute__((always_inline)) inline
#else
#define RELPROP_INLINE inline
#endif

namespace relprop::machine {
namespace {  // each instruction set has its own copy

#if defined(__AVX512F__)
constexpr std::size_t register_bytes = 64;
#elif defined(__AVX__)
constexpr std::size_t register_bytes = 32;
#else
constexpr std::size_t register_bytes = 16;
#endif

// Elementwise arithmetic on `lanes` numbers; a compiler without such types takes one number at a time.
#ifdef __GNUC__
template <class T>
struct Register {
  typedef T type __attribute__((vector_size(register_bytes)));
};
#else
template <class T>
struct Register {
  using type = T;
};
#endif

template <class T>
constexpr Index lanes = sizeof(typename Register<T>::type) / sizeof(T);

template <class Vector, class T>
RELPROP_INLINE Vector read(const T* from) {
  Vector v;
  std::memcpy(&v, from, sizeof(Vector));
  return v;
}
template <class Vector, class T>
RELPROP_INLINE void write(Vector v, T* to) {
  std::memcpy(to, &v, sizeof(Vector));
}

// Hints that a cache line will be read.
RELPROP_INLINE void fetch([[maybe_unused]] const void* from) {
#ifdef __GNUC__
  __builtin_prefetch(from, 0, 2);
#endif
}

}  // namespace
}  // namespace relprop::machine
