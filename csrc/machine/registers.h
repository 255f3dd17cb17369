// What one register of the instruction set that is being compiled holds, how it is read and written, and a hint to the caches.
#pragma once

#include <cstddef>
#include <cstring>
#include <utility>

#include "machine/memory.h"

#ifdef __GNUC__
#define RELPROP_INLINE __attribute__((always_inline)) inline
#else
#define RELPROP_INLINE inline
#endif

#if defined(__GNUC__) && defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define RELPROP_SHUFFLES
#endif
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

// Half a register: where the processor has two units of half the width, it takes half the time.
#ifdef __GNUC__
template <class T>
struct Half {
  typedef T type __attribute__((vector_size(register_bytes / 2)));
};
#else
template <class T>
using Half = Register<T>;
#endif

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

template <int count>
using Counted = std::make_integer_sequence<int, count>;
template <int... i>
using Each = std::integer_sequence<int, i...>;

// `length` numbers next to one another, up to as many as a register holds; without shuffles there is but one.
#ifdef RELPROP_SHUFFLES
template <class T, Index length>
struct Run {
  typedef T type __attribute__((vector_size(length * sizeof(T))));
};
template <class T>
struct Run<T, 1> {
  using type = T;
};
template <class T>
constexpr Index longest_run = lanes<T>;
#else
template <class T, Index>
struct Run {
  using type = T;
};
template <class T>
constexpr Index longest_run = 1;
#endif

// Every second of 2 · length numbers, from the first and from the second on; and back.
template <class Many, class T, int... lane>
RELPROP_INLINE void part(const T* from, Many& even, Many& odd, Each<lane...>) {
  const auto first = read<Many>(from), second = read<Many>(from + sizeof...(lane));
#ifdef RELPROP_SHUFFLES
  if constexpr (sizeof...(lane) > 1) {
    even = __builtin_shufflevector(first, second, 2 * lane...);
    odd = __builtin_shufflevector(first, second, (2 * lane + 1)...);
    return;
  }
#endif
  even = first;
  odd = second;
}
template <class Many, class T, int... lane>
RELPROP_INLINE void weave(const Many& even, const Many& odd, T* to, Each<lane...>) {
  constexpr int length = sizeof...(lane);
#ifdef RELPROP_SHUFFLES
  if constexpr (length > 1) {
    write(Many(__builtin_shufflevector(even, odd, (lane / 2 + lane % 2 * length)...)), to);
    write(Many(__builtin_shufflevector(even, odd, (length / 2 + lane / 2 + lane % 2 * length)...)), to + length);
    return;
  }
#endif
  write(even, to);
  write(odd, to + length);
}

// Hints that a cache line will be read.
RELPROP_INLINE void fetch([[maybe_unused]] const void* from) {
#ifdef __GNUC__
  __builtin_prefetch(from, 0, 2);
#endif
}

}  // namespace
}  // namespace relprop::machine
