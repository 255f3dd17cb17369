// The propagation rules as scalar functions for host and device, namespace relprop::math.
// Link relprop::relprop (CMake), or put csrc/ and csrc/include/ on the include path; C++17.
#pragma once

#include "math/rules/all.h"
