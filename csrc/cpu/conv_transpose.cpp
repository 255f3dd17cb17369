#include "relprop/conv_transpose.h"

#include "window.h"

namespace relprop::cpu {

template <class Isa, class T>
void for_isa::conv_transpose_forward(Isa isa, const WindowSize& size, const T* x, const T* w, const T* b, T* z) {
  window_forward(isa, size, Way::scatter, x, w, b, z);
}

template <class Isa, class T>
void for_isa::conv_transpose_gradient(Isa isa, const WindowSize& size, const T* w, const T* G, T* G_x) {
  window_forward(isa, size, reversed(Way::scatter), G, w, static_cast<const T*>(nullptr), G_x);
}

template <class Isa, class T>
void for_isa::conv_transpose_relevance(Isa, const WindowSize& size, const T* x, const T* w, const T* b, const T* R,
                                       const AnyRule<T>& rule, const Bounds<T>& bounds, const T* z, const Account<T>* account, T* r) {
  affine_relevance<Isa, T>(WindowMap<Isa, T>(size, Way::scatter, x, w, r), b, R, rule, bounds, z, account);
}

#define RELPROP_INSTANTIATE(T)                                                                                                     \
  template void for_isa::conv_transpose_forward(machine::RELPROP_ISA, const WindowSize&, const T*, const T*, const T*, T*);        \
  template void for_isa::conv_transpose_gradient(machine::RELPROP_ISA, const WindowSize&, const T*, const T*, T*);                 \
  template void for_isa::conv_transpose_relevance(machine::RELPROP_ISA, const WindowSize&, const T*, const T*, const T*,           \
                                                  const T*, const AnyRule<T>&, const Bounds<T>&, const T*, const Account<T>*, T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cpu
