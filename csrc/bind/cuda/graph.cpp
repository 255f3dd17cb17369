// CUDA graphs: relprop/capture.py records a call of explain into one.
#include "machine/cuda/graph.h"

#include <cstring>

#include "array.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// The numbers of x, an array of the same shape and dtype in either memory, into ours in C order.
void fill(const DeviceArray& into, const py::object& x) {
  constexpr const char* operation = "fill";
  const auto bytes = static_cast<std::size_t>(into.size()) * static_cast<std::size_t>(into.width);
  const auto stream = current_stream(operation);
  if (!is_on_device(x)) {
    const py::array host = py::module_::import("numpy").attr("ascontiguousarray")(x);
    if (static_cast<std::size_t>(host.nbytes()) != bytes) throw py::value_error("fill: another number of bytes");
    cuda::upload(operation, into.data, host.data(), bytes, stream);
    return;
  }
  const DeviceArray given = device_array(operation, x);
  if (given.shape != into.shape || given.dtype() != into.dtype()) throw py::value_error("fill: another shape or dtype");
  const bool must_wait = follow(operation, given, stream);
  cuda::Operand operands[3];
  operands[0] = operand_of(given, into.shape);
  const auto copy = [&](auto zero) {
    const py::gil_scoped_release release;
    cuda::elementwise<decltype(zero)>(operation, stream, cuda::Operation::positive, 1, operands, target_of(into));
    if (must_wait) cuda::synchronize(operation, stream);
  };
  if (into.kind != 'f')
    copy(Index{});
  else
    into.width == 8 ? copy(double{}) : copy(float{});
}

}  // namespace

void bind_cuda_graph(py::module_& module) {
  using namespace py::literals;
  using cuda::Graph;
  py::class_<Graph>(module, "Graph", "What a thread does on its own stream between begin and end; launch does it again, as one.")
      .def(py::init<>())
      .def("begin", [](Graph& graph) { graph.begin("graph"); })
      .def("end", [](Graph& graph) { graph.end("graph"); })
      .def("abandon", &Graph::abandon)
      .def("follow", [](Graph& graph) { graph.follow("graph", current_stream("graph")); })
      .def("launch", [](Graph& graph) { graph.launch("graph", current_stream("graph")); })
      .def("done", [](Graph& graph) { graph.done("graph", current_stream("graph")); })
      .def_property_readonly("nodes", &Graph::nodes)
      .def_property_readonly("memory", &Graph::memory);
  module.def("fill", &fill, "into"_a, "x"_a);
  module.def(
      "settled",
      [](DeviceArray x) {
        x.stream = nullptr;
        return x;
      },
      "x"_a, "The array without a stream to wait for: its caller knows when it is there.");
}
