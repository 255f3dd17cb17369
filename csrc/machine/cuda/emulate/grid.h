// A CUDA grid on the host: blocks one after another, the threads of a block as fibers of one thread of the system.
//
// Fibers switch at barriers and shuffles only, in a fixed order, so every run is the same. What a GPU leaves undefined
// is a Fault here, with the kernel, the block and the thread:
//
//   a barrier that some threads of a block miss, or meet in another line       shared memory outside of its tile
//   shuffles and votes of lanes that are not there                             two threads at one word without a barrier
//   more shared memory or threads than a device has                            global memory outside of an allocation
//
// RELPROP_EMULATE_ORDER=reverse runs blocks and threads from the last to the first: a kernel that depends on their
// order gives other bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <type_traits>

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

namespace emulate {

struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

constexpr int warp_size = 32;
constexpr std::size_t shared_default = 48 * 1024, shared_most = 160 * 1024;  // without and with opting in

// Runs kernel() once for every thread of the grid. cooperative: all blocks at once, so that they can wait for each
// other. shared_limit: what the kernel opted in to.
void run(const char* name, dim3 grid, dim3 block, std::size_t shared, const std::function<void()>& kernel,
         bool cooperative = false, std::size_t shared_limit = shared_default);

// Where the running thread is.
struct Place {
  uint3 thread, block;
  dim3 block_size, grid_size;
};
const Place& here();

// Barriers of the block and of the grid; the call's line tells two barriers apart.
void sync_block(const char* file = __builtin_FILE(), int line = __builtin_LINE());
void sync_grid(const char* file = __builtin_FILE(), int line = __builtin_LINE());

// The lanes of mask meet, each with a word, and take the word of another lane, or one bit of every lane's. Only
// `barrier` orders what they wrote to shared memory.
enum class Meeting { barrier, lane, down, up, exclusive_or, vote, all };
std::uint64_t meet(unsigned mask, std::uint64_t word, Meeting meeting, int argument = 0, int width = warp_size);

// The lanes of mask meet, and each may read the words of all until it meets them again.
const std::uint64_t* gather(unsigned mask, std::uint64_t word);

// The block's dynamic shared memory: its bytes, and who touched them since the last barrier.
void* shared_memory();
std::size_t shared_size();
void note_read(const void* address, std::size_t size);
void note_write(const void* address, std::size_t size);
[[noreturn]] void fault(const std::string& what);  // adds the kernel, the block and the thread

template <class T>
T shuffle(unsigned mask, T value, Meeting meeting, int argument, int width) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(std::uint64_t));
  std::uint64_t word = 0;
  std::memcpy(&word, &value, sizeof value);
  word = meet(mask, word, meeting, argument, width);
  std::memcpy(&value, &word, sizeof value);
  return value;
}

}  // namespace emulate
