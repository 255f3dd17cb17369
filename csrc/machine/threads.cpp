#include "machine/threads.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

#include "machine/blas.h"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace relprop::machine {
namespace {

// How long a thread that has nothing to do looks for work before it sleeps: to wake it takes a quarter of that, and more
// where the processor of a virtual machine has slept too. A network's loops follow one another in less time.
constexpr std::chrono::microseconds patience{200};

// Whether `found` becomes true within that time.
template <class F>
bool comes(F&& found) {
  for (const auto end = std::chrono::steady_clock::now() + patience; !found();)
    if (std::chrono::steady_clock::now() > end) return false;
  return true;
}

// Threads that wait for a loop. The pool is never destroyed: at exit its threads may still be waiting.
class Pool {
 public:
  // Runs loop over `parts` even parts of [0, count). Whoever is free takes the next part: where a thread of the pool
  // does not get to run, nobody waits for it.
  void run(int parts, Index count, void* context, detail::Loop loop) {
    std::unique_lock lock(mutex_);
    while (workers_ < parts - 1) {
      try {
        std::thread([this] { wait(); }).detach();
        ++workers_;
      } catch (const std::system_error&) {  // the system gives no more
        break;
      }
    }
    job_ = {parts, count, context, loop};
    next_ = 0;
    pending_ = parts;
    ++round_;
    const int wanted = std::min(parts - 1, asleep_);
    lock.unlock();
    for (int i = 0; i < wanted; ++i) start_.notify_one();
    lock.lock();
    take(lock);
    const auto is_done = [this] { return pending_ == 0; };
    if (is_done()) return;
    lock.unlock();
    const bool came = comes(is_done);
    lock.lock();
    if (!came) done_.wait(lock, is_done);
  }

  std::mutex busy;

 private:
  struct Job {
    int parts;
    Index count;
    void* context;
    detail::Loop loop;
  };

  static void work(const Job& job, int part) {
    const Index size = job.count / job.parts, rest = job.count % job.parts;
    const Index begin = part * size + std::min<Index>(part, rest);
    job.loop(job.context, begin, begin + size + (part < rest));
  }

  // Works on parts that nobody has taken, until there are none.
  void take(std::unique_lock<std::mutex>& lock) {
    while (next_ < job_.parts) {
      const int part = next_++;
      const Job job = job_;
      lock.unlock();
      work(job, part);
      lock.lock();
      if (--pending_ == 0) done_.notify_one();
    }
  }

  void wait() {
    unsigned long seen = 0;
    std::unique_lock lock(mutex_);
    for (;;) {
      const auto is_new = [&] { return round_ != seen; };
      if (!is_new()) {
        lock.unlock();
        comes(is_new);
        lock.lock();
        ++asleep_;
        start_.wait(lock, is_new);
        --asleep_;
      }
      seen = round_;
      take(lock);
    }
  }

  std::mutex mutex_;
  std::condition_variable start_, done_;
  Job job_{};
  int next_ = 0, asleep_ = 0, workers_ = 0;
  std::atomic<int> pending_{0};
  std::atomic<unsigned long> round_{0};
};

Pool* the_pool = nullptr;
thread_local bool inside = false;

Pool& pool() {
  static std::once_flag made;
  std::call_once(made, [] {
    the_pool = new Pool;
#if defined(__unix__) || defined(__APPLE__)
    pthread_atfork(nullptr, nullptr, [] { the_pool = new Pool; });  // a forked process has none of the threads
#endif
  });
  return *the_pool;
}

}  // namespace

int threads() { return blas_threads(); }
void set_threads(int count) { set_blas_threads(count); }

void detail::parallel(Index count, Index grain, void* context, Loop loop) {
  const auto parts = static_cast<int>(std::min<Index>(threads(), count / std::max<Index>(grain, 1)));
  if (parts > 1 && !inside) {
    Pool& shared = pool();
    std::unique_lock free(shared.busy, std::try_to_lock);
    if (free) {
      inside = true;
      shared.run(parts, count, context, loop);
      inside = false;
      return;
    }
  }
  loop(context, 0, count);
}

}  // namespace relprop::machine
