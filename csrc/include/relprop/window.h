// Windows over the axes of an image. Mirrors pyref/layers/window.py: window p sees through tap k
//
//   x[p · stride + k · dilation - before]          0 outside of the image
#pragma once

#include "machine/memory.h"

namespace relprop::cpu {

// An image of fewer axes has leading ones of length 1.
constexpr int window_axes = 3;

struct Windows {
  Index lengths[window_axes];  // of the image
  Index counts[window_axes];   // of the windows
  Index kernel[window_axes], stride[window_axes], before[window_axes], dilation[window_axes];
};

// Weights (window channels, image channels / groups, *kernel) between an image (samples, image channels, *lengths)
// and what its windows see, (samples, window channels, *counts).
struct WindowSize {
  Index samples, image_channels, window_channels, groups;
  Windows windows;
  bool one_x = false;  // relevance: x and z are one sample's, and so those of all
};

}  // namespace relprop::cpu
