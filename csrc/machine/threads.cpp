#include "machine/threads.h"

#include <algorithm>
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

// Threads that wait for a loop. The pool is never destroyed: at exit its threads may still be waiting.
class Pool {
 public:
  // Runs loop over `parts` even parts of [0, count), the first on this thread.
  void run(int parts, Index count, void* context, detail::Loop loop) {
    std::unique_lock lock(mutex_);
    while (workers_ < parts - 1) {
      try {
        std::thread([this, part = workers_ + 1] { wait(part); }).detach();
        ++workers_;
      } catch (const std::system_error&) {  // the system gives no more
        parts = workers_ + 1;
      }
    }
    job_ = {parts, count, context, loop};
    pending_ = parts - 1;
    ++round_;
    lock.unlock();
    start_.notify_all();
    work(job_, 0);
    lock.lock();
    done_.wait(lock, [this] { return pending_ == 0; });
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

  void wait(int part) {
    unsigned long seen = 0;
    std::unique_lock lock(mutex_);
    for (;;) {
      start_.wait(lock, [&] { return round_ != seen; });
      seen = round_;
      if (part >= job_.parts) continue;
      const Job job = job_;
      lock.unlock();
      work(job, part);
      lock.lock();
      if (--pending_ == 0) done_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable start_, done_;
  Job job_{};
  int pending_ = 0;
  unsigned long round_ = 0;
  int workers_ = 0;
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
