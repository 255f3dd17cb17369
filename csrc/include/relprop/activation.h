// The activations as scalar functions for host and device, namespace relprop::math: values, derivatives, ε-LRP
// ratios, DeepLIFT quotients, the masks of Guided Backpropagation and Deconvnet.
// Link relprop::relprop (CMake), or put csrc/ and csrc/include/ on the include path; C++17.
#pragma once

#include "math/activation.h"
#include "math/guided_backprop.h"
