// Threads, counters, and what was built.
#include <pybind11/pybind11.h>

#include "machine/blas.h"
#include "machine/blocks.h"
#include "machine/isa.h"
#include "machine/memory.h"
#include "machine/threads.h"

namespace py = pybind11;
using namespace relprop;

namespace {

void set_threads(int count) {
  if (count < 1) throw py::value_error("n is " + std::to_string(count) + ", expected at least 1");
  machine::set_threads(count);
}

py::dict counters() {
  using namespace py::literals;
  const auto c = machine::counters();
  return py::dict("products"_a = c.products, "flops"_a = c.flops, "allocations"_a = c.allocations, "bytes"_a = c.bytes,
                  "bytes_at_once"_a = c.bytes_at_once);
}

}  // namespace

void bind_machine(py::module_& module) {
  using namespace py::literals;
  module.def("threads", &machine::threads);
  module.def("set_threads", &set_threads, "n"_a);
  module.def("counters", &counters);
  module.def("reset_counters", &machine::reset_counters);
  module.def("blocks", [] { return py::dict("in_use"_a = machine::blocks().in_use, "free"_a = machine::blocks().free); });
  module.def("release_memory", &machine::release_blocks);
  module.def("instruction_set", &machine::isa_name);
  module.def("blas", &machine::blas_name);
}
