// One switch for threads, and loops over them.
#pragma once

#include <type_traits>

#include "machine/memory.h"

namespace relprop::machine {

// The number of threads that a call may use. Where OpenBLAS makes the matrix products it is OpenBLAS's own
// number, so that OMP_NUM_THREADS and threadpoolctl reach our loops too.
int threads();
void set_threads(int count);

namespace detail {
using Loop = void (*)(void* context, Index begin, Index end);
void parallel(Index count, Index grain, void* context, Loop loop);
}  // namespace detail

// f(begin, end) over disjoint ranges that cover [0, count), at least `grain` long where there are several.
// The ranges depend on count, grain and threads() alone. f does not throw. Called from inside f, or while
// another thread of the program runs a loop, it runs on the caller's thread.
template <class F>
void parallel(Index count, Index grain, F&& f) {
  if (count <= 0) return;
  detail::parallel(count, grain, &f, [](void* context, Index begin, Index end) {
    (*static_cast<std::remove_reference_t<F>*>(context))(begin, end);
  });
}

}  // namespace relprop::machine
