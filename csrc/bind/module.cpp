// relprop._core: the binding's table of contents.
#include <pybind11/pybind11.h>

namespace py = pybind11;

void bind_activations(py::module_& module);
void bind_chain(py::module_& module);
void bind_gates(py::module_& module);
void bind_numerics(py::module_& module);
void bind_rules(py::module_& module);
void bind_machine(py::module_& module);
void bind_updates(py::module_& module);

void bind_activation(py::module_& cpu);
void bind_aggregate(py::module_& cpu);
void bind_batchnorm(py::module_& cpu);
void bind_conv(py::module_& cpu);
void bind_conv_transpose(py::module_& cpu);
void bind_dense(py::module_& cpu);
void bind_embedding(py::module_& cpu);
void bind_gru(py::module_& cpu);
void bind_lstm(py::module_& cpu);
void bind_merge(py::module_& cpu);
void bind_norm(py::module_& cpu);
void bind_pool(py::module_& cpu);
void bind_product(py::module_& cpu);
void bind_reduce(py::module_& cpu);
void bind_softmax(py::module_& cpu);
void bind_upsample(py::module_& cpu);

void bind_cuda(py::module_& cuda);

PYBIND11_MODULE(_core, module) {
  module.doc() = "The compiled part of relprop. Use pyref's names through relprop instead.";
  module.attr("__version__") = RELPROP_VERSION;
  module.attr("source_digest") = RELPROP_SOURCE_DIGEST;
  bind_activations(module);
  bind_chain(module);
  bind_gates(module);
  bind_numerics(module);
  bind_rules(module);
  bind_machine(module);
  bind_updates(module);

  auto cpu = module.def_submodule("cpu", "Kernels on the host, under pyref's names.");
  bind_activation(cpu);
  bind_aggregate(cpu);
  bind_batchnorm(cpu);
  bind_conv(cpu);
  bind_conv_transpose(cpu);
  bind_dense(cpu);
  bind_embedding(cpu);
  bind_gru(cpu);
  bind_lstm(cpu);
  bind_merge(cpu);
  bind_norm(cpu);
  bind_pool(cpu);
  bind_product(cpu);
  bind_reduce(cpu);
  bind_softmax(cpu);
  bind_upsample(cpu);

  module.attr("cuda_build") = RELPROP_CUDA_BUILD;
#ifdef RELPROP_HAS_CUDA
  auto cuda = module.def_submodule("cuda", "Kernels on an NVIDIA GPU, under pyref's names.");
  bind_cuda(cuda);
#else
  module.attr("cuda") = py::none();
#endif
}
