// The maximum of each window on the CPU. Mirrors pyref/layers/pool.py; T is float or double. Averages are in reduce.h.
//
// x (samples, channels, *lengths), y (samples, channels, *counts); every pointer is to an array without gaps. Every
// window sees something of the image, and a plane has fewer than 2³¹ numbers.
#pragma once

#include "machine/isa.h"
#include "math/pool.h"
#include "relprop/window.h"

namespace relprop::cpu {

struct PoolSize {
  Index samples, channels;
  Windows windows;
};

namespace for_isa {

template <class Isa, class T>
void max_pool_forward(Isa, const PoolSize& size, const T* x, T* y);

// G_x of G; of relevance likewise. dropped (samples): what the winners of a window receive beyond its G, negative;
// or null
template <class Isa, class T>
void max_pool_gradient(Isa, const PoolSize& size, math::Ties ties, const T* x, const T* G, T* dropped, T* G_x);

template <class Isa, class T>
void max_pool_tangent(Isa, const PoolSize& size, math::Ties ties, const T* x, const T* dx, T* dy);

// DeepLIFT's complete multipliers, with an x0 for each sample or one for all
template <class Isa, class T>
void max_pool_multiplier(Isa, const PoolSize& size, math::Ties ties, const T* x, const T* x0, bool one_x0, const T* M, T* M_x);

// dy, and per sample the first time t at which another input overtakes
template <class Isa, class T>
void max_pool_ray(Isa, const PoolSize& size, const T* x, const T* dx, T* dy, T* t);

}  // namespace for_isa

RELPROP_CHOOSE(max_pool_forward)
RELPROP_CHOOSE(max_pool_gradient)
RELPROP_CHOOSE(max_pool_tangent)
RELPROP_CHOOSE(max_pool_multiplier)
RELPROP_CHOOSE(max_pool_ray)

}  // namespace relprop::cpu
