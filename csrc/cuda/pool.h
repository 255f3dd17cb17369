// The maximum of each window on the device. Mirrors pyref/layers/pool.py; pointers are to device memory.
//
// x (planes, lengths), y (planes, counts): a plane is a channel of a sample. Every window sees something of the image.
#pragma once

#include "machine/cuda/memory.h"
#include "math/pool.h"

namespace relprop::cuda {

// Window p sees x[p · stride + k · dilation - before] through tap k.
struct PoolMap {
  Index samples, channels;
  int lengths[3], counts[3], kernel[3], stride[3], before[3], dilation[3];

  Index planes() const { return samples * channels; }
  Index places() const { return Index(lengths[0]) * lengths[1] * lengths[2]; }
  Index positions() const { return Index(counts[0]) * counts[1] * counts[2]; }
};

template <class T>
void max_pool_forward(const char* operation, Stream stream, const PoolMap& map, const T* x, T* y);

// G_x of G; of relevance likewise. dropped (samples): what the winners of a window receive beyond its G, negative; or null
template <class T>
void max_pool_gradient(const char* operation, Stream stream, const PoolMap& map, math::Ties ties, const T* x, const T* G, T* dropped,
                       T* G_x);

template <class T>
void max_pool_tangent(const char* operation, Stream stream, const PoolMap& map, math::Ties ties, const T* x, const T* dx, T* dy);

// DeepLIFT's complete multipliers, with an x0 for each sample or one for all
template <class T>
void max_pool_multiplier(const char* operation, Stream stream, const PoolMap& map, math::Ties ties, const T* x, const T* x0,
                         bool one_x0, const T* M, T* M_x);

// dy along x + t dx, and t (samples): for how long a sample's maxima stay
template <class T>
void max_pool_ray(const char* operation, Stream stream, const PoolMap& map, const T* x, const T* dx, T* dy, T* t);

}  // namespace relprop::cuda
