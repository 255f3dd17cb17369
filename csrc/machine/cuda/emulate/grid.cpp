#include "grid.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <deque>
#include <exception>
#include <memory>
#include <sstream>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulate {

namespace {

// ── fibers ──

constexpr std::size_t stack_size = 128 * 1024, guard_size = 4096;

struct Fiber {
  ucontext_t context{};
  char* stack = nullptr;  // null: the stack of the thread that called run()
  void* fake = nullptr;

  Fiber() = default;
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber() {
    if (stack) munmap(stack - guard_size, stack_size + guard_size);
  }

  void allocate() {
    if (stack) return;
    void* memory = mmap(nullptr, stack_size + guard_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw Fault("no memory for the stack of an emulated thread");
    mprotect(memory, guard_size, PROT_NONE);  // an overflow stops here
    stack = static_cast<char*>(memory) + guard_size;
  }

  void begin(void (*entry)()) {
    allocate();
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(stack, stack_size);  // what an abandoned thread left poisoned
#endif
    getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = stack_size;
    context.uc_link = nullptr;
    makecontext(&context, entry, 0);
  }
};

#if defined(__SANITIZE_ADDRESS__)
thread_local const void* main_stack = nullptr;
thread_local std::size_t main_size = 0;
void arrived(Fiber& self) {
  const void* from = nullptr;
  std::size_t size = 0;
  __sanitizer_finish_switch_fiber(self.fake, &from, &size);
  if (!main_stack && !self.fake) main_stack = from, main_size = size;
}
void switch_to(Fiber& from, Fiber& to) {
  __sanitizer_start_switch_fiber(&from.fake, to.stack ? to.stack : main_stack, to.stack ? stack_size : main_size);
  swapcontext(&from.context, &to.context);
  arrived(from);
}
#else
void arrived(Fiber&) {}
void switch_to(Fiber& from, Fiber& to) { swapcontext(&from.context, &to.context); }
#endif

// ── what runs ──

enum class State { unstarted, ready, at_block, at_grid, in_warp, ended };

struct Warp;
struct Block;

struct Thread {
  Place place;
  Block* block = nullptr;
  Warp* warp = nullptr;
  Fiber* fiber = nullptr;
  State state = State::unstarted;
  int index = 0, lane = 0;
  const char* file = "";
  int line = 0;
  // the rendezvous of its warp
  unsigned mask = 0;
  std::uint64_t word = 0;
  Meeting meeting = Meeting::barrier;
  int argument = 0, width = 0;
};

struct Warp {
  std::array<Thread*, warp_size> lanes{};
  std::array<std::uint64_t, warp_size> words{};  // of the last meeting
  std::uint32_t epoch = 0;  // rendezvous of all its lanes so far
};

// Who touched a word of shared memory last, and after how many barriers.
struct Touch {
  std::uint32_t written = 0, read = 0;                // epoch of the block, counted from 1
  std::uint32_t written_in_warp = 0, read_in_warp = 0;  // epoch of the warp
  int writer = -1, reader = -1, reading_warp = -1;    // -2: several
};
constexpr int several = -2;
constexpr std::size_t word_size = 4, red_zone = 64;
constexpr unsigned char red = 0xA5, poison = 0xFF;  // floats of 0xFF are NaN

struct Block {
  uint3 index{};
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::vector<Touch> touches;
  std::unique_ptr<double[]> memory;  // red zones on both sides of the shared memory
  std::uint32_t epoch = 1;

  unsigned char* bytes() { return reinterpret_cast<unsigned char*>(memory.get()) + red_zone; }
};

struct Grid {
  const char* name;
  const std::function<void()>& kernel;
  dim3 size, block_size;
  std::size_t shared;
  bool backwards, cooperative;
  std::vector<std::unique_ptr<Block>> blocks;  // those that run now
  std::deque<Thread*> ready, unstarted;
  std::size_t unfinished = 0;
  std::vector<std::unique_ptr<Fiber>>& fibers;
  std::vector<Fiber*> idle;
  std::size_t used = 0;
  Fiber* starting = nullptr;
  Fiber main;
  Thread* current = nullptr;
  std::exception_ptr failure;
};

thread_local Grid* grid = nullptr;
thread_local std::vector<std::unique_ptr<Fiber>> fibers;  // kept from launch to launch

std::string show(const uint3& i, const dim3& size) {
  std::ostringstream out;
  if (size.y == 1 && size.z == 1)
    out << i.x;
  else
    out << '(' << i.x << ", " << i.y << ", " << i.z << ')';
  return out.str();
}

std::string show(const Thread& t) {
  return "block " + show(t.place.block, t.place.grid_size) + ", thread " + show(t.place.thread, t.place.block_size);
}

std::string in_kernel(const std::string& what) { return std::string("kernel ") + grid->name + ": " + what; }

void run_threads();

Fiber* fresh_fiber() {
  if (!grid->idle.empty()) {
    Fiber* f = grid->idle.back();
    grid->idle.pop_back();
    return f;
  }
  if (grid->used == grid->fibers.size()) grid->fibers.push_back(std::make_unique<Fiber>());
  Fiber* f = grid->fibers[grid->used++].get();
  f->begin(&run_threads);
  grid->starting = f;
  return f;
}

// Leaves `from` for whatever can run; without any, or after a failure, for run().
void yield(Fiber& from) {
  Fiber* to = &grid->main;
  if (!grid->failure && !grid->ready.empty()) {
    grid->current = grid->ready.front();
    grid->ready.pop_front();
    to = grid->current->fiber;
  } else if (!grid->failure && !grid->unstarted.empty()) {
    to = fresh_fiber();
  }
  if (to != &from) switch_to(from, *to);
}

// What a fiber does: one thread after another, as long as none waits.
void run_threads() {
  Fiber* self = grid->starting;
  arrived(*self);
  for (;;) {
    while (!grid->unstarted.empty() && !grid->failure) {
      Thread* t = grid->unstarted.front();
      grid->unstarted.pop_front();
      grid->current = t;
      t->fiber = self;
      t->state = State::ready;
      try {
        grid->kernel();
      } catch (...) {
        grid->failure = std::current_exception();
      }
      grid->current->state = State::ended;
      --grid->unfinished;
    }
    grid->idle.push_back(self);
    yield(*self);
  }
}

void wait(State state, const char* file, int line) {
  Thread* t = grid->current;
  t->state = state;
  t->file = file;
  t->line = line;
  yield(*t->fiber);
}

void release(Thread& t) {
  t.state = State::ready;
  if (grid->backwards)
    grid->ready.push_front(&t);
  else
    grid->ready.push_back(&t);
}

std::string line_of(const Thread& t) {
  const std::string file = t.file;
  return file.substr(file.find_last_of('/') + 1) + ":" + std::to_string(t.line);
}

// Some threads wait at a barrier, nobody can run: says why nobody will.
[[noreturn]] void deadlock(const Block& b) {
  const auto& ts = b.threads;
  const auto waits = [](const Thread& t) { return t.state != State::ended; };
  const auto first = std::find_if(ts.begin(), ts.end(), waits);
  std::string what = show(*first);
  what += first->state == State::in_warp ? " waits for other lanes of its warp" : " waits at the barrier in " + line_of(*first);
  const auto other = std::find_if(ts.begin(), ts.end(), [&](const Thread& t) {
    return t.state != first->state || (t.state != State::in_warp && (t.line != first->line || std::strcmp(t.file, first->file) != 0));
  });
  if (other != ts.end()) {
    what += ", thread " + show(other->place.thread, other->place.block_size);
    what += other->state == State::ended      ? " has ended"
            : other->state == State::in_warp ? " waits for other lanes of its warp"
                                             : " waits at the barrier in " + line_of(*other);
  } else {
    what += ", which other blocks do not reach";
  }
  throw Fault(in_kernel(what));
}

// Nobody can run: opens the barriers that everybody reached.
void open_barriers() {
  bool opened = false, all_at_grid = true;
  for (auto& b : grid->blocks) {
    const Thread& first = b->threads.front();
    bool together = true, at_grid = true, ended = true;
    for (const Thread& t : b->threads) {
      together = together && t.state == State::at_block && t.line == first.line && std::strcmp(t.file, first.file) == 0;
      at_grid = at_grid && t.state == State::at_grid;
      ended = ended && t.state == State::ended;
    }
    all_at_grid = all_at_grid && at_grid;
    if (together) {
      ++b->epoch;
      for (Thread& t : b->threads) release(t);
      opened = true;
    } else if (!at_grid && !ended) {
      deadlock(*b);
    }
  }
  if (all_at_grid) {
    for (auto& b : grid->blocks) {
      ++b->epoch;
      for (Thread& t : b->threads) release(t);
    }
    opened = true;
  }
  if (!opened)
    for (auto& b : grid->blocks)
      if (b->threads.front().state != State::ended) deadlock(*b);
}

void enter(uint3 index) {
  auto b = std::make_unique<Block>();
  const dim3 size = grid->block_size;
  b->index = index;
  const std::size_t count = std::size_t(size.x) * size.y * size.z;
  b->threads.resize(count);
  b->warps.resize((count + std::size_t(warp_size) - 1) / std::size_t(warp_size));
  b->touches.resize((grid->shared + word_size - 1) / word_size);
  b->memory = std::make_unique<double[]>((grid->shared + sizeof(double) - 1) / sizeof(double) + 2 * red_zone / sizeof(double));
  std::memset(b->bytes() - red_zone, red, red_zone);
  std::memset(b->bytes(), poison, grid->shared);
  std::memset(b->bytes() + grid->shared, red, red_zone);
  for (std::size_t i = 0; i < count; ++i) {
    Thread& t = b->threads[i];
    const auto n = static_cast<unsigned>(i);
    t.index = static_cast<int>(i);
    t.lane = t.index % warp_size;
    t.block = b.get();
    t.warp = &b->warps[i / std::size_t(warp_size)];
    t.warp->lanes[t.lane] = &t;
    t.place = {{n % size.x, n / size.x % size.y, n / size.x / size.y}, index, size, grid->size};
  }
  for (Thread& t : b->threads) {
    if (grid->backwards)
      grid->unstarted.push_front(&t);
    else
      grid->unstarted.push_back(&t);
  }
  grid->unfinished += count;
  grid->blocks.push_back(std::move(b));
}

void finish() {
  while (grid->unfinished > 0) {
    yield(grid->main);
    if (grid->failure) std::rethrow_exception(grid->failure);
    if (grid->unfinished > 0 && grid->ready.empty()) open_barriers();
  }
  for (auto& b : grid->blocks)
    for (std::size_t i = 0; i < red_zone; ++i)
      if (b->bytes()[-1 - static_cast<std::ptrdiff_t>(i)] != red || b->bytes()[grid->shared + i] != red)
        throw Fault(in_kernel("block " + show(b->index, grid->size) + " wrote outside of its " +
                              std::to_string(grid->shared) + " bytes of shared memory"));
  grid->blocks.clear();
}

std::size_t count(dim3 d) { return std::size_t(d.x) * d.y * d.z; }

uint3 unfold(std::size_t i, dim3 size) {
  return {static_cast<unsigned>(i % size.x), static_cast<unsigned>(i / size.x % size.y),
          static_cast<unsigned>(i / size.x / size.y)};
}

bool starts_backwards() {
  const char* order = std::getenv("RELPROP_EMULATE_ORDER");
  return order != nullptr && std::string(order) == "reverse";
}

struct Running {
  explicit Running(Grid& g) { grid = &g; }
  ~Running() { grid = nullptr; }
};

}  // namespace

void run(const char* name, dim3 size, dim3 block, std::size_t shared, const std::function<void()>& kernel, bool cooperative,
         std::size_t shared_limit) {
  if (grid) throw Fault("a kernel cannot launch a kernel");
  Grid g{name, kernel, size, block, shared, starts_backwards(), cooperative, {}, {}, {}, 0, fibers, {}, 0, nullptr, {}, nullptr, nullptr};
  const Running running(g);
  if (count(size) == 0 || count(block) == 0 || count(block) > 1024 || size.y > 65535 || size.z > 65535 || block.z > 64)
    throw Fault(in_kernel("a grid of " + show({size.x, size.y, size.z}, size) + " blocks of " +
                          show({block.x, block.y, block.z}, block) + " threads is more than a device has"));
  if (shared > shared_limit)
    throw Fault(in_kernel(std::to_string(shared) + " bytes of shared memory, of " + std::to_string(shared_limit) + " allowed"));
  for (std::size_t i = 0; i < count(size); ++i) {
    enter(unfold(g.backwards ? count(size) - 1 - i : i, size));
    if (!cooperative) finish();
  }
  if (cooperative) finish();
}

const Place& here() { return grid->current->place; }

void sync_block(const char* file, int line) { wait(State::at_block, file, line); }
void sync_grid(const char* file, int line) {
  if (!grid->cooperative) fault("waits for the grid, and its launch was not cooperative");
  wait(State::at_grid, file, line);
}

std::uint64_t meet(unsigned mask, std::uint64_t word, Meeting meeting, int argument, int width) {
  Thread& self = *grid->current;
  Warp& warp = *self.warp;
  const auto in = [](unsigned lanes, int l) { return (lanes >> l & 1) != 0; };
  if (!in(mask, self.lane)) fault("a lane is not in the mask that it meets others by");
  self.mask = mask;
  self.word = word;
  self.meeting = meeting;
  self.argument = argument;
  self.width = width;
  self.state = State::in_warp;
  bool complete = true, whole = true;
  for (int l = 0; l < warp_size; ++l) {
    const Thread* t = warp.lanes[l];
    if (in(mask, l) && (!t || t->state == State::ended))
      fault("lane " + std::to_string(l) + " is in the mask of a meeting and is not there");
    if (in(mask, l)) complete = complete && t->state == State::in_warp && t->mask == mask && t->meeting == meeting;
    whole = whole && (in(mask, l) || !t);
  }
  if (!complete) {
    wait(State::in_warp, "", 0);
    return self.word;
  }
  if (meeting == Meeting::barrier && whole) ++warp.epoch;
  std::array<std::uint64_t, warp_size>& words = warp.words;
  std::uint64_t votes = 0;
  for (int l = 0; l < warp_size; ++l)
    if (in(mask, l)) {
      words[l] = warp.lanes[l]->word;
      votes |= std::uint64_t(words[l] != 0) << l;
    }
  for (int l = 0; l < warp_size; ++l) {
    if (!in(mask, l)) continue;
    Thread& t = *warp.lanes[l];
    const int first = l - l % t.width, end = first + t.width;
    int from = l;
    if (meeting == Meeting::lane) from = first + t.argument % t.width;
    if (meeting == Meeting::down && l + t.argument < end) from = l + t.argument;
    if (meeting == Meeting::up && l - t.argument >= first) from = l - t.argument;
    if (meeting == Meeting::exclusive_or && (l ^ t.argument) < end) from = l ^ t.argument;
    if (!in(mask, from)) fault("lane " + std::to_string(l) + " reads lane " + std::to_string(from) + ", which is not in the mask");
    t.word = meeting == Meeting::vote ? votes : words[from];
    t.mask = 0;
    if (&t != &self) release(t);
  }
  self.state = State::ready;
  return self.word;
}

const std::uint64_t* gather(unsigned mask, std::uint64_t word) {
  Warp& warp = *grid->current->warp;
  meet(mask, word, Meeting::all);
  return warp.words.data();
}

void* shared_memory() { return grid->current->block->bytes(); }
std::size_t shared_size() { return grid->shared; }

namespace {

// Whether a touch by thread `who` of warp `of`, at `then` and in its warp at `then_in_warp`, is not yet ordered before now.
bool unordered(const Thread& t, std::uint32_t then, int who, int of, std::uint32_t then_in_warp) {
  if (then != t.block->epoch || who == t.index) return false;
  return of != t.index / warp_size || then_in_warp >= t.warp->epoch;
}

[[noreturn]] void race(const char* verb, std::size_t word, int who) {
  const std::string other = who == several ? "others" : "thread " + std::to_string(who);
  fault(std::string(verb) + " word " + std::to_string(word) + " of shared memory that " + other + " touched, without a barrier");
}

template <class F>
void for_each_word(const void* address, std::size_t size, F&& f) {
  Block& b = *grid->current->block;
  const auto offset = static_cast<std::size_t>(static_cast<const unsigned char*>(address) - b.bytes());
  if (offset + size > grid->shared) fault("outside of the block's shared memory");
  for (std::size_t w = offset / word_size; w <= (offset + size - 1) / word_size; ++w) f(b.touches[w], w);
}

}  // namespace

void note_read(const void* address, std::size_t size) {
  const Thread& t = *grid->current;
  const int own = t.index, warp = own / warp_size;
  for_each_word(address, size, [&](Touch& touch, std::size_t w) {
    if (unordered(t, touch.written, touch.writer, touch.writer / warp_size, touch.written_in_warp))
      race("reads", w, touch.writer);
    const bool fresh = touch.read != t.block->epoch;
    touch.reader = fresh || touch.reader == own ? own : several;
    touch.reading_warp = fresh || touch.reading_warp == warp ? warp : several;
    touch.read = t.block->epoch;
    touch.read_in_warp = t.warp->epoch;
  });
}

void note_write(const void* address, std::size_t size) {
  const Thread& t = *grid->current;
  const int own = t.index;
  for_each_word(address, size, [&](Touch& touch, std::size_t w) {
    if (unordered(t, touch.written, touch.writer, touch.writer / warp_size, touch.written_in_warp))
      race("writes", w, touch.writer);
    if (unordered(t, touch.read, touch.reader, touch.reading_warp, touch.read_in_warp)) race("writes", w, touch.reader);
    touch.writer = own;
    touch.written = t.block->epoch;
    touch.written_in_warp = t.warp->epoch;
  });
}

void fault(const std::string& what) { throw Fault(in_kernel(show(*grid->current) + ": " + what)); }

}  // namespace emulate
