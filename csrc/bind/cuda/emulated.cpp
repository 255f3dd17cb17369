// relprop._cuda_emulated: the same bindings on the emulated device, for tests. No wheel holds it.
#include <pybind11/pybind11.h>

#include <cuda_runtime.h>

namespace py = pybind11;

void bind_cuda(py::module_& module);

PYBIND11_MODULE(_cuda_emulated, module) {
  using namespace py::literals;
  module.doc() = "The CUDA kernels, run by the host. Slow, strict, and for tests only.";
  module.attr("source_digest") = RELPROP_SOURCE_DIGEST;
  bind_cuda(module);
  module.def(
      "fail_next", [](int error, bool sticky) { emulate::fail_next(static_cast<cudaError_t>(error), sticky); }, "error"_a,
      "sticky"_a = false, "The next call to the CUDA runtime fails with this error; sticky: every later one too.");
  module.def("allocated", &emulate::allocated, "Bytes of device memory that are held.");
}
