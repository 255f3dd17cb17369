// Any affine map on the device, and relevance through it under any rule. Mirrors pyref/layers/affine.py.
//
//   z_p = Σ_i input(p, x_i) · weight(p, w_io) + bias(p, b_o)
//   s   = split(R_o, z)
//   r_i = Σ_p input(p, x_i) · Σ_o weight(p, w_io) · s_p,o
//
// Dense layers, convolutions, their transposes and sums over the neighbours in a graph are one kind of map: each output
// meets, in a window of places of the input, the channels of its group. Functions return once their kernels are on the stream. Pointers are to device memory.
#pragma once

#include <array>

#include "cuda/layer.h"

namespace relprop::cuda {

// x (samples, channels, places) and z (samples, channels, positions) with up to three axes of places, or with the
// channels last. Position p meets place p · stride + k · dilation - before through tap k, where there is one; in a
// transposed map place p meets position p · stride + k · dilation - before.
struct AffineMap {
  Index samples;
  int groups, inputs, outputs;  // channels of a group
  int lengths[3], counts[3];    // places and positions along each axis
  int kernel[3], stride[3], before[3], dilation[3];
  bool channels_last;
  Index w_group, w_input, w_output, w_tap;  // how far apart lie the elements of w
  bool transposed = false;
  bool edges = false;  // where w is 0 nothing is connected, whatever a rule makes of weights

  Index places() const { return Index(lengths[0]) * lengths[1] * lengths[2]; }
  Index positions() const { return Index(counts[0]) * counts[1] * counts[2]; }
  int taps() const { return kernel[0] * kernel[1] * kernel[2]; }
  Index x_size() const { return Index(groups) * inputs * places(); }  // of a sample
  Index z_size() const { return Index(groups) * outputs * positions(); }
  int channels() const { return groups * outputs; }  // of z
  int channel_apart() const { return channels_last ? 1 : static_cast<int>(positions()); }
};

// How float products are formed, by all maps of the process. double is always plain.
//   plain     multiply-adds of the processor: u = 2⁻²⁴
//   float32   three products on tensor cores, of numbers split into two of tf32: a product is off by 2⁻²¹ of itself at most
//   tf32      one, of numbers rounded to 11 significant bits: u = 2⁻¹¹
//   bf16      one, of numbers rounded to 8: u = 2⁻⁸
// Sums are float in every one. float32 is the default, plain with RELPROP_CUDA_PLAIN=1.
enum class Precision { plain, float32, tf32, bf16 };
constexpr std::array<const char*, 4> words(Precision) { return {"plain", "float32", "tf32", "bf16"}; }
Precision product_precision();
void set_product_precision(Precision precision);

// ── one part of a rule, for layers that put sums and shares together by themselves ──

template <class T>
struct Constants;

// z (+)= Σ_i input part(x_i) · weight part(w_io); x null where the input part is 1
template <class T>
void affine_sum(const char* operation, Stream stream, const AffineMap& map, const T* x, const T* w, math::Factor input,
                math::Factor weight, const Constants<T>& constants, bool add, T* z);

// The shares s of a part in the shape of z.
template <class T>
struct CarriedPart {
  math::Factor input, weight;
  const T* s;
};

// r (+)= Σ_p input part(x_i) · Σ_o weight part(w_io) · s_p,o
template <class T>
void affine_carry(const char* operation, Stream stream, const AffineMap& map, const T* x, const T* w, const CarriedPart<T>* parts,
                  int count, const Constants<T>& constants, bool add, T* r);

}  // namespace relprop::cuda
