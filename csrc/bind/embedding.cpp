#include "relprop/embedding.h"

#include "door.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

py::object embedding_forward(const py::object& ids_, const py::object& table_) {
  const auto table = floats("table", table_);
  const auto ids = py::cast<py::array>(ids_);
  if (table.ndim() == 0 || (ids.dtype().kind() != 'i' && ids.dtype().kind() != 'u')) return reference("embedding_forward", ids, table);
  const Packed<Index> id_data(ids);  // beyond its range they become negative
  auto shape = shape_of(ids);
  Index width = 1;
  for (int d = 1; d < table.ndim(); ++d) shape.push_back(table.shape(d)), width *= table.shape(d);
  bool is_inside = true;
  const auto y = filled({table}, {shape}, [&](auto in, auto out) {
    is_inside = cpu::embedding_forward(id_data.size(), table.shape(0), width, id_data.data(), in[0], out[0]);
  })[0];
  return is_inside ? py::object(y) : reference("embedding_forward", ids, table);  // raises
}

}  // namespace

void bind_embedding(py::module_& cpu) {
  def(cpu, "embedding_forward", &embedding_forward);
}
