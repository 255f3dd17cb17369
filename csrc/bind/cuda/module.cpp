// The CUDA kernels' part of the extension: its table of contents.
#include <pybind11/stl.h>

#include "array.h"
#include "bind/door.h"
#include "cuda/affine.h"
#include "cuda/recurrent.h"

namespace py = pybind11;
using namespace relprop;

void bind_cuda_activation(py::module_& module);
void bind_cuda_aggregate(py::module_& module);
void bind_cuda_arithmetic(py::module_& module);
void bind_cuda_batchnorm(py::module_& module);
void bind_cuda_conv(py::module_& module);
void bind_cuda_conv_transpose(py::module_& module);
void bind_cuda_dense(py::module_& module);
void bind_cuda_embedding(py::module_& module);
void bind_cuda_graph(py::module_& module);
void bind_cuda_gru(py::module_& module);
void bind_cuda_lstm(py::module_& module);
void bind_cuda_merge(py::module_& module);
void bind_cuda_norm(py::module_& module);
void bind_cuda_pool(py::module_& module);
void bind_cuda_product(py::module_& module);
void bind_cuda_reduce(py::module_& module);
void bind_cuda_softmax(py::module_& module);
void bind_cuda_upsample(py::module_& module);

namespace {

py::list devices() {
  using namespace py::literals;
  py::list all;
  for (const auto& d : cuda::devices())
    all.append(py::dict("name"_a = d.name, "memory"_a = d.memory, "capability"_a = py::make_tuple(d.major, d.minor),
                        "processors"_a = d.processors));
  return all;
}

py::dict counters() {
  using namespace py::literals;
  const auto c = cuda::counters();
  return py::dict("products"_a = c.products, "flops"_a = c.flops, "allocations"_a = c.allocations, "bytes"_a = c.bytes,
                  "bytes_at_once"_a = c.bytes_at_once, "launches"_a = c.launches, "uploads"_a = c.uploads,
                  "downloads"_a = c.downloads, "waits"_a = c.waits);
}

}  // namespace

void bind_cuda(py::module_& module) {
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const cuda::OutOfMemory& error) {
      PyErr_SetString(PyExc_MemoryError, error.what());
    }
  });
  bind::bind_array(module);
  bind_cuda_activation(module);
  bind_cuda_aggregate(module);
  bind_cuda_arithmetic(module);
  bind_cuda_batchnorm(module);
  bind_cuda_conv(module);
  bind_cuda_conv_transpose(module);
  bind_cuda_dense(module);
  bind_cuda_embedding(module);
  bind_cuda_graph(module);
  bind_cuda_gru(module);
  bind_cuda_lstm(module);
  bind_cuda_merge(module);
  bind_cuda_norm(module);
  bind_cuda_pool(module);
  bind_cuda_product(module);
  bind_cuda_reduce(module);
  bind_cuda_softmax(module);
  bind_cuda_upsample(module);
  using namespace py::literals;
  module.def("devices", &devices);
  module.def(
      "hold_recurrent",
      [](Index bytes, int staged) {
        cuda::set_holding(bytes < 0 ? cuda::Holding{} : cuda::Holding{bytes, staged});
      },
      "bytes"_a = -1, "staged"_a = 1024,
      "For tests: at most so many bytes of weights in a block of a recurrent kernel, and so many numbers of a state staged "
      "at a time; without arguments what the device has.");
  module.def("recurrent_held", &cuda::last_held, "Where the last recurrent kernel of this thread held its weights.");
  module.def("no_device", &cuda::no_device);
  module.def("versions", &cuda::versions);
  module.def("counters", &counters);
  module.def("reset_counters", &cuda::reset_counters);
  module.def("precision", [] { return cuda::words({})[static_cast<std::size_t>(cuda::product_precision())]; });
  module.def("set_precision", [](const py::object& name) {
    cuda::set_product_precision(bind::choice<cuda::Precision>("name", name));
  }, py::arg("name"));
  module.def("synchronize", [] { cuda::synchronize("synchronize", bind::current_stream("synchronize")); });
}
