// Copies of samples that differ from them in a window, as occlusion and the perturbation metrics ask for, on the CPU: only
// what a change reaches is computed. T is float or double; every pointer is to an array without gaps.
//
// What a convolution or a dense layer puts out changes by Δx W, which is added to what the sample's was, over a window that
// grows by the reach of each kernel; activations and maxima are taken again.
#pragma once

#include <variant>
#include <vector>

#include "relprop/activation.h"
#include "relprop/window.h"

namespace relprop::cpu {

// Values (samples, channels, *lengths).
template <class T>
struct Image {
  const T* values;
  Index channels, lengths[window_axes];
};

template <class T>
struct CopiedConv {
  Windows windows;
  const T* w;  // (channels after, channels before, *kernel)
};
struct CopiedMaxPool {
  Windows windows;
};
template <class T>
using CopiedLayer = std::variant<CopiedConv<T>, CopiedMaxPool, AnyActivation<T>>;

// Layers one after the other, and a dense layer that reads what the last of them makes.
template <class T>
struct CopiedChain {
  Index samples;
  std::vector<Image<T>> images;         // of the samples: what they are, and what each layer made of them
  std::vector<CopiedLayer<T>> layers;
  Index outputs;
  const T *w, *z;  // of the dense layer: (inputs, outputs), and what it made of the samples, (samples, outputs)
};

// Walk k is copies [first[k], first[k + 1]). Its first one is sample rows[k] in another window, and each other one the copy
// before it in another window. All windows are of one size; that of copy i begins at start[3 i …], and may reach over edges.
template <class T>
struct Walks {
  Index count;
  const Index *rows, *first, *start;
  Index size[window_axes];
  const T* values;  // (copies, channels, *size)
};

// Images (count, channels, *lengths).
struct ImageSize {
  Index count, channels, lengths[window_axes];
  Index each() const { return channels * lengths[0] * lengths[1] * lengths[2]; }
};

namespace for_isa {

// low <= place < high (count, axes): where image k differs from image rows[k] of the others; both 0 where nowhere
template <class Isa, class T>
void difference_bounds(Isa, const ImageSize& size, const T* images, const Index* rows, const T* others, Index* low, Index* high);

// to (columns, rows) of from (rows, columns)
template <class Isa, class T>
void turned(Isa, Index rows, Index columns, const T* from, T* to);

// z (copies, outputs) of the dense layer. Not `answered` where a copy takes more than the share `most` of the products of a
// whole pass, or where a change is not finite.
template <class Isa, class T>
void copied_forward(Isa, const CopiedChain<T>& chain, const Walks<T>& walks, double most, T* z, bool& answered);

}  // namespace for_isa

RELPROP_CHOOSE(difference_bounds)
RELPROP_CHOOSE(turned)

template <class T>
bool copied_forward(const CopiedChain<T>& chain, const Walks<T>& walks, double most, T* z) {
  bool answered = true;
  machine::with_isa([&](auto tag) { for_isa::copied_forward(tag, chain, walks, most, z, answered); });
  return answered;
}

}  // namespace relprop::cpu
