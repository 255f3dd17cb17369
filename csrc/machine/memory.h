// Workspace of a kernel, and the counters of what a call took.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace relprop {

using Index = std::int64_t;

namespace machine {

// Since the last reset, over all threads.
struct Counters {
  Index products;       // calls of a matrix product
  Index flops;          // 2 m n k of each, added
  Index allocations;    // blocks of workspace
  Index bytes;          // their sizes, added
  Index bytes_at_once;  // the most that were held at one time
};

Counters counters();
void reset_counters();
void count_product(Index flops);

void* allocate(std::size_t bytes);  // throws std::bad_alloc
void release(void* block, std::size_t bytes) noexcept;

// Uninitialised workspace that starts at a cache line.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(Index size) : size_(size), data_(size ? static_cast<T*>(allocate(bytes())) : nullptr) {}
  Buffer(Buffer&& other) noexcept : size_(std::exchange(other.size_, 0)), data_(std::exchange(other.data_, nullptr)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(size_, other.size_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~Buffer() {
    if (data_) release(data_, bytes());
  }
  T* data() const { return data_; }
  Index size() const { return size_; }

 private:
  std::size_t bytes() const { return static_cast<std::size_t>(size_) * sizeof(T); }
  Index size_ = 0;
  T* data_ = nullptr;
};

}  // namespace machine
}  // namespace relprop
