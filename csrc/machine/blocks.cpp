#include "machine/blocks.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <new>
#include <set>
#include <utility>

#if defined(__unix__) && !defined(__SANITIZE_ADDRESS__)  // which watches the blocks of the C library
#define RELPROP_MAPS
#include <pthread.h>
#include <sys/mman.h>
#endif

namespace relprop::machine {
namespace {

constexpr std::align_val_t cache_line{64};

#ifdef RELPROP_MAPS

constexpr std::size_t page = std::size_t(1) << 21;  // a large one, which the system fills at once
constexpr std::size_t in_small_pages = 4 * page;    // what is asked for first: a small network needs parts of it

std::size_t up_to(std::size_t bytes, std::size_t multiple) { return (bytes + multiple - 1) / multiple * multiple; }

class Pool {
 public:
  char* take(std::size_t bytes) {
    const std::lock_guard<std::mutex> guard(mutex_);
    const std::size_t size = up_to(bytes, large);
    auto fit = by_size_.lower_bound({size, nullptr});
    if (fit == by_size_.end()) {
      const std::size_t whole = up_to(size, page);
      most_ = std::max(most_, in_use_ + size);
      shrink(most_ + spare(most_), whole);
      add(map(whole), whole);
      fit = by_size_.lower_bound({size, nullptr});
    }
    const auto [length, block] = *fit;
    remove(by_address_.find(block));
    if (length > size) add(block + size, length - size);
    in_use_ += size;
    most_ = std::max(most_, in_use_);
    keep_no_more();
    return block;
  }

  void give_back(char* block, std::size_t bytes) noexcept {
    const std::lock_guard<std::mutex> guard(mutex_);
    const std::size_t size = up_to(bytes, large);
    in_use_ -= size;
    try {
      add(block, size);
    } catch (const std::bad_alloc&) {  // nowhere to note it
      munmap(block, size);
      return;
    }
    keep_no_more();
  }

  void release() noexcept {
    const std::lock_guard<std::mutex> guard(mutex_);
    shrink(0, 0);
    most_ = 0;
  }

  Blocks state() {
    const std::lock_guard<std::mutex> guard(mutex_);
    return {in_use_, free_};
  }

  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  using ByAddress = std::map<char*, std::size_t>;

  // Beginning at a large page.
  char* map(std::size_t size) {
    void* found = mmap(nullptr, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (found == MAP_FAILED) {
      shrink(0, 0);
      found = mmap(nullptr, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (found == MAP_FAILED) throw std::bad_alloc();
    }
    char* begin = static_cast<char*>(found);
    const std::size_t before = (page - reinterpret_cast<std::size_t>(begin) % page) % page;
    if (before > 0) munmap(begin, before);
    if (before < page) munmap(begin + before + size, page - before);
#ifdef MADV_HUGEPAGE
    madvise(begin + before, size, in_use_ + free_ + size > in_small_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
#endif
    return begin + before;
  }

  void keep_no_more() noexcept {
    if (free_ > std::max(in_use_, kept)) shrink(in_use_ + std::max(in_use_, kept), 0);
  }

  // Gives free memory back, from the longest piece on, until all that is held and `more` are no more than `most`.
  void shrink(std::size_t most, std::size_t more) noexcept {
    while (free_ > 0 && in_use_ + free_ + more > most) {
      const auto [length, block] = *by_size_.rbegin();
      const std::size_t end = std::min(length, up_to(in_use_ + free_ + more - most, large));
      const auto found = by_address_.find(block);
      if (end == length) {
        remove(found);
      } else {  // its end; the note of its length is used again
        auto note = by_size_.extract({length, block});
        note.value().first = found->second = length - end;
        by_size_.insert(std::move(note));
        free_ -= end;
      }
      munmap(block + length - end, end);
    }
  }

  // A free piece, joined with those on either side.
  void add(char* block, std::size_t size) {
    auto after = by_address_.lower_bound(block);
    if (after != by_address_.end() && block + size == after->first) {
      size += after->second;
      after = remove(after);
    }
    if (after != by_address_.begin()) {
      const auto before = std::prev(after);
      if (before->first + before->second == block) {
        block = before->first;
        size += before->second;
        remove(before);
      }
    }
    by_size_.insert({size, block});
    by_address_.insert({block, size});
    free_ += size;
  }

  ByAddress::iterator remove(ByAddress::iterator piece) noexcept {
    free_ -= piece->second;
    by_size_.erase({piece->second, piece->first});
    return by_address_.erase(piece);
  }

  std::mutex mutex_;
  ByAddress by_address_;                              // lengths of free pieces, none next to another
  std::set<std::pair<std::size_t, char*>> by_size_;  // the same
  std::size_t in_use_ = 0, free_ = 0, most_ = 0;
};

// It outlives what is released when a process ends, and no other thread is amid it when a process is forked.
Pool& pool() {
  static Pool* const one = [] {
    pthread_atfork([] { pool().lock(); }, [] { pool().unlock(); }, [] { pool().unlock(); });
    return new Pool;
  }();
  return *one;
}

#endif

}  // namespace

#ifdef RELPROP_MAPS
void* take_block(std::size_t bytes) { return bytes < large ? ::operator new(bytes, cache_line) : pool().take(bytes); }
void return_block(void* block, std::size_t bytes) noexcept {
  if (bytes < large) return ::operator delete(block, cache_line);
  pool().give_back(static_cast<char*>(block), bytes);
}
void release_blocks() noexcept { pool().release(); }
Blocks blocks() { return pool().state(); }
#else
void* take_block(std::size_t bytes) { return ::operator new(bytes, cache_line); }
void return_block(void* block, std::size_t) noexcept { ::operator delete(block, cache_line); }
void release_blocks() noexcept {}
Blocks blocks() { return {0, 0}; }
#endif

}  // namespace relprop::machine
