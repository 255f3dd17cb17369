#include "machine/memory.h"

#include <atomic>

#include "machine/blocks.h"

namespace relprop::machine {
namespace {

std::atomic<Index> products, flops, allocations, bytes, held, most;

}  // namespace

Counters counters() { return {products, flops, allocations, bytes, most}; }

void reset_counters() {
  products = flops = allocations = bytes = 0;
  most = held.load();
}

void count_product(Index n) {
  ++products;
  flops += n;
}

void* allocate(std::size_t size) {
  void* block = take_block(size);
  ++allocations;
  bytes += static_cast<Index>(size);
  const Index now = held += static_cast<Index>(size);
  for (Index peak = most; peak < now && !most.compare_exchange_weak(peak, now);) {
  }
  return block;
}

void release(void* block, std::size_t size) noexcept {
  held -= static_cast<Index>(size);
  return_block(block, size);
}

}  // namespace relprop::machine
