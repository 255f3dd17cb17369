#include "relprop/conv.h"

#include "machine/repeats.h"
#include "window.h"

namespace relprop::cpu {
namespace {

// Multiplications of a sample from which it is asked whether its windows repeat: at least half of them.
constexpr Index worth_asking = 1 << 20;

}  // namespace

// A sample goes its way by itself, so that its bits do not depend on the others.
template <class Isa, class T>
void for_isa::conv_forward(Isa isa, const WindowSize& size, const T* x, const T* w, const T* b, bool is_rectified, T* z) {
  const End image = start_of(size, Way::look), seen = end_of(size, Way::look);
  if (seen.elements() * image.channels / size.groups * product_of(size.windows.kernel) < worth_asking)
    return window_forward(isa, size, Way::look, x, w, b, z, is_rectified);
  WindowSize some = size;
  Index done = 0;
  const auto finish_until = [&](Index sample) {
    some.samples = sample - done;
    if (some.samples > 0)
      window_forward(isa, some, Way::look, x + done * image.elements(), w, b, z + done * seen.elements(), is_rectified);
    done = sample;
  };
  for (Index n = 0; n < size.samples; ++n) {
    const machine::Shortened<T> shortened(size.windows, size.image_channels, x + n * image.elements());
    if (2 * shortened.left() > product_of(size.windows.counts)) continue;
    finish_until(n);
    WindowSize few = size;
    few.samples = 1;
    few.windows = shortened.windows;
    const Buffer<T> of_few(seen.channels * shortened.left());
    window_forward(isa, few, Way::look, shortened.image.data(), w, b, of_few.data(), is_rectified);
    shortened.spread(size.windows, seen.channels, of_few.data(), z + n * seen.elements());
    done = n + 1;
  }
  finish_until(size.samples);
}

template <class Isa, class T>
void for_isa::conv_gradient(Isa isa, const WindowSize& size, const T* w, const T* G, T* G_x) {
  window_forward(isa, size, reversed(Way::look), G, w, static_cast<const T*>(nullptr), G_x);
}

template <class Isa, class T>
void for_isa::conv_relevance(Isa, const WindowSize& size, const T* x, const T* w, const T* b, const T* R, const AnyRule<T>& rule,
                             const Bounds<T>& bounds, const T* z, const Account<T>* account, T* r) {
  affine_relevance<Isa, T>(WindowMap<Isa, T>(size, Way::look, x, w, r), b, R, rule, bounds, z, account);
}

#define RELPROP_INSTANTIATE(T)                                                                                                  \
  template void for_isa::conv_forward(machine::RELPROP_ISA, const WindowSize&, const T*, const T*, const T*, bool, T*);         \
  template void for_isa::conv_gradient(machine::RELPROP_ISA, const WindowSize&, const T*, const T*, T*);                        \
  template void for_isa::conv_relevance(machine::RELPROP_ISA, const WindowSize&, const T*, const T*, const T*, const T*,        \
                                        const AnyRule<T>&, const Bounds<T>&, const T*, const Account<T>*, T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cpu
