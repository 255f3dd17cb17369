// Large blocks of memory that are handed out again. The C library gives blocks of over 32 MiB back to the system at once
// and gets them again page by page, each of which the system fills with zeros first: a fifth of the time of a pass.
//
// What is free is kept while both together are no more than was in use at one time and `spare` more, for pieces seldom fit
// to the last one: an eighth, or `little` where that is more. At rest, when less is in use than free, no more is kept than
// `kept`.
#pragma once

#include <cstddef>

namespace relprop::machine {

constexpr std::size_t large = std::size_t(1) << 16;  // bytes from which a block comes from here, and of which it is a multiple
constexpr std::size_t little = std::size_t(8) << 20;
constexpr std::size_t kept = std::size_t(320) << 20;  // what a batch of images takes

constexpr std::size_t spare(std::size_t most) { return most / 8 > little ? most / 8 : little; }

// Uninitialised, from a cache line on. Throws std::bad_alloc.
void* take_block(std::size_t bytes);
void return_block(void* block, std::size_t bytes) noexcept;

// Gives all that is free back to the system, and forgets how much was in use.
void release_blocks() noexcept;

struct Blocks {
  std::size_t in_use, free;  // bytes
};
Blocks blocks();

}  // namespace relprop::machine
