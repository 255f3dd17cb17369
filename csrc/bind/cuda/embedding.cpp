#include "cuda/embedding.h"

#include <pybind11/stl.h>

#include "door.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// (y, whether an id is outside, in device memory)
py::tuple looked_up(const Argument& ids, const Argument& table) {
  auto shape = ids.shape();
  const auto table_shape = table.shape();
  Index count = 1, width = 1;
  for (const Index length : shape) count *= length;
  for (std::size_t d = 1; d < table_shape.size(); ++d) shape.push_back(table_shape[d]), width *= table_shape[d];
  Call call("embedding_forward", {&ids, &table});
  return call.with_widest([&](auto zero) -> py::object {
    using T = decltype(zero);
    const Index* id_data = call.in_integers(ids);
    const T* table_data = call.in<T>(table);
    const auto y = call.out<T>(shape);
    const DeviceArray outside = new_array(call.operation(), 'i', sizeof(Index), {1});
    call.run([&] {
      cuda::embedding_forward(call.operation(), call.stream(), count, table_shape[0], width, id_data, table_data, y.data(),
                              static_cast<Index*>(outside.data));
    });
    return py::make_tuple(call.give(y), outside);
  });
}

py::object embedding_forward(const py::object& ids_, const py::object& table_) {
  const Argument table("table", table_), ids = Argument::of_integers("ids", ids_);
  if (table.ndim() == 0) return reference("embedding_forward", ids.object, on_host(table));  // raises
  const auto [y, outside] = py::cast<std::pair<py::object, DeviceArray>>(looked_up(ids, table));
  const bool is_inside = *static_cast<const Index*>(to_host(outside).data()) == 0;
  return is_inside ? y : reference("embedding_forward", on_host(ids), on_host(table));  // raises
}

}  // namespace

void bind_cuda_embedding(py::module_& module) {
  using namespace py::literals;
  def(module, "embedding_forward", &embedding_forward);
  module.def(
      "embedding_looked_up",
      [](const py::object& ids, const py::object& table) { return looked_up(Argument::of_integers("ids", ids), Argument("table", table)); },
      "ids"_a, "table"_a, "What embedding_forward answers, and where an id is outside a 1 for who looks at it later.");
}
