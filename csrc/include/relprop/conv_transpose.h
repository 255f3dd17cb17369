// Transposed convolution over one, two or three axes on the CPU. Mirrors pyref/layers/conv_transpose.py; T is float
// or double.
//
// z is the image, and x in the place of what its windows see; every pointer is to an array without gaps. Argument
// errors are undefined behaviour here: a binding checks.
#pragma once

#include "machine/isa.h"
#include "relprop/account.h"
#include "relprop/rules.h"
#include "relprop/window.h"

namespace relprop::cpu {
namespace for_isa {

// z (samples, image channels, *lengths), x sent back through the windows, + b; b (image channels) or null
template <class Isa, class T>
void conv_transpose_forward(Isa, const WindowSize& size, const T* x, const T* w, const T* b, T* z);

// G_x in the shape of x, from G in the shape of z
template <class Isa, class T>
void conv_transpose_gradient(Isa, const WindowSize& size, const T* w, const T* G, T* G_x);

// r in the shape of x, of R in the shape of z, under a rule;
// z: the pre-activation where it is known, else null; account: null where nobody asks
template <class Isa, class T>
void conv_transpose_relevance(Isa, const WindowSize& size, const T* x, const T* w, const T* b, const T* R,
                              const AnyRule<T>& rule, const Bounds<T>& bounds, const T* z, const Account<T>* account, T* r);

}  // namespace for_isa

// The same without the tag, with the code for this machine's instruction set.
RELPROP_CHOOSE(conv_transpose_forward)
RELPROP_CHOOSE(conv_transpose_gradient)
RELPROP_CHOOSE(conv_transpose_relevance)

}  // namespace relprop::cpu
