#include "cuda/embedding.h"

#include "door.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

py::object embedding_forward(const py::object& ids_, const py::object& table_) {
  const Argument table("table", table_), ids = Argument::of_integers("ids", ids_);
  auto shape = ids.shape();
  const auto table_shape = table.shape();
  if (table_shape.empty()) return reference("embedding_forward", ids.object, on_host(table));  // raises
  Index count = 1, width = 1;
  for (const Index length : shape) count *= length;
  for (std::size_t d = 1; d < table_shape.size(); ++d) shape.push_back(table_shape[d]), width *= table_shape[d];
  Call call("embedding_forward", {&ids, &table});
  return call.with_widest([&](auto zero) -> py::object {
    using T = decltype(zero);
    const Index* id_data = call.in_integers(ids);
    const T* table_data = call.in<T>(table);
    const auto y = call.out<T>(shape);
    bool is_inside = true;
    call.run([&] {
      is_inside = cuda::embedding_forward(call.operation(), call.stream(), count, table_shape[0], width, id_data, table_data, y.data());
    });
    return is_inside ? call.give(y) : reference("embedding_forward", on_host(ids), on_host(table));  // raises
  });
}

}  // namespace

void bind_cuda_embedding(py::module_& module) {
  using namespace py::literals;
  module.def("embedding_forward", &embedding_forward, "ids"_a, "table"_a);
}
