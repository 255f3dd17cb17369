// The questions to a layer that is an affine map on the device: AffineMap, BoxMap or UpsampleMap. Pointers are to device
// memory; functions return once their kernels are on the stream. w and b are null where the map has its own, or none.
#pragma once

#include "machine/cuda/memory.h"
#include "relprop/account.h"
#include "relprop/rules.h"

namespace relprop::cuda {

// z = Σ_i x_i w_io + b_o, or where it is rectified max(z, 0)
template <class T, class Map>
void layer_forward(const char* operation, Stream stream, const Map& map, const T* x, const T* w, const T* b, T* z, bool is_rectified = false);

// G_x = Σ_o w_io G_o
template <class T, class Map>
void layer_gradient(const char* operation, Stream stream, const Map& map, const T* w, const T* G, T* G_x);

// r of x under a rule, which is not Pass. bounds: of a box, one per element of a sample. z: the pre-activation where
// it is known, else null. account: null where nobody asks.
template <class T, class Map>
void layer_relevance(const char* operation, Stream stream, const Map& map, const T* x, const T* w, const T* b, const T* R,
                     const AnyRule<T>& rule, const Bounds<T>& bounds, const T* z, const Account<T>* account, T* r);

}  // namespace relprop::cuda
