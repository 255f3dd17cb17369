// Arrays in device memory as Python sees them: our own, and any that speak DLPack or __cuda_array_interface__.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <string>
#include <vector>

#include "cuda/arithmetic.h"
#include "machine/cuda/memory.h"

namespace relprop::bind {

namespace py = pybind11;

// Numbers in device memory. Whoever made them is kept alive, and the stream on which that is freed; `stream` is where they become what they are, or null
// where that is known to have happened.
struct DeviceArray {
  std::shared_ptr<void> owner;
  void* data = nullptr;
  char kind = 'f';  // NumPy's: f, i, u, b
  int width = 4;    // bytes of one
  std::vector<Index> shape, strides;  // in elements
  int device = 0;
  cuda::Stream stream = nullptr;

  Index size() const;
  bool is_packed() const;  // in C order without gaps
  std::string dtype() const;
};

py::dtype numpy_dtype(const DeviceArray& x);

// Whether an object lives in device memory: ours, or one that says so.
bool is_on_device(const py::object& x);

// A view of it.
DeviceArray device_array(const char* name, const py::object& x);

// Our array of new memory, in C order.
DeviceArray new_array(const char* operation, char kind, int width, const std::vector<Index>& shape);

// A copy in host memory.
py::array to_host(const DeviceArray& x);

// The same numbers in C order: the array itself where it is that.
DeviceArray in_c_order(const char* operation, const DeviceArray& x);

// What becomes of an array on another stream is waited for on ours. Answers whether memory that is read may be gone before
// our stream has got there, unless somebody waits: it is freed in the order of the other.
bool follow(const char* operation, const DeviceArray& x, cuda::Stream stream);

// As kernels see it: spread to a shape that it broadcasts to, or written to.
cuda::Type type_of(const DeviceArray& x);
cuda::Operand operand_of(const DeviceArray& x, const std::vector<Index>& shape);
cuda::Target target_of(const DeviceArray& x);

// The stream that operations of this thread go to: the caller's where one was chosen, else our own.
cuda::Stream current_stream(const char* operation);
bool is_callers_stream();

void bind_array(py::module_& module);

}  // namespace relprop::bind
