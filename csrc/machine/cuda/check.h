// Errors of CUDA calls: one exception each, with the name of the operation.
#pragma once

#include <stdexcept>
#include <string>

namespace relprop::cuda {

// A call failed; the next one works.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// No memory for what was asked.
struct OutOfMemory : Error {
  using Error::Error;
};

// No device, no driver, or one that this build has no code for.
struct NoDevice : Error {
  using Error::Error;
};

}  // namespace relprop::cuda
