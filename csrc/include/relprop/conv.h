// Convolution over one, two or three axes on the CPU. Mirrors pyref/layers/conv.py; T is float or double.
//
// x is the image and z what the windows see; every pointer is to an array without gaps. Argument errors are
// undefined behaviour here: a binding checks.
#pragma once

#include "machine/isa.h"
#include "relprop/account.h"
#include "relprop/rules.h"
#include "relprop/window.h"

namespace relprop::cpu {
namespace for_isa {

// z (samples, window channels, *counts) = x * w + b, or where it is rectified max(z, 0); b (window channels) or null
template <class Isa, class T>
void conv_forward(Isa, const WindowSize& size, const T* x, const T* w, const T* b, bool is_rectified, T* z);

// G_x in the shape of x, from G in the shape of z
template <class Isa, class T>
void conv_gradient(Isa, const WindowSize& size, const T* w, const T* G, T* G_x);

// r in the shape of x, of R in the shape of z, under a rule;
// z: the pre-activation where it is known, else null; account: null where nobody asks
template <class Isa, class T>
void conv_relevance(Isa, const WindowSize& size, const T* x, const T* w, const T* b, const T* R, const AnyRule<T>& rule,
                    const Bounds<T>& bounds, const T* z, const Account<T>* account, T* r);

}  // namespace for_isa

// The same without the tag, with the code for this machine's instruction set.
RELPROP_CHOOSE(conv_forward)
RELPROP_CHOOSE(conv_gradient)
RELPROP_CHOOSE(conv_relevance)

}  // namespace relprop::cpu
