// The door of layers with several inputs, which broadcast against each other as pyref/layers/merge.py says.
#pragma once

#include "door.h"

namespace relprop::bind {

inline py::object of_merge(const char* name) { return py::module_::import("pyref.layers.merge").attr(name); }

inline std::vector<py::array> inputs(const char* name, const py::object& x) {
  std::vector<py::array> all;
  for (py::handle v : x) all.push_back(floats(name, py::reinterpret_borrow<py::object>(v)));
  return all;
}

// The shape that `join` makes of the arrays' shapes, which is not asked where they are alike.
inline std::vector<Index> shape_by(const py::object& join, const std::vector<py::array>& x) {
  bool alike = true;
  for (const auto& v : x) alike &= shape_of(v) == shape_of(x[0]);
  if (alike) return shape_of(x[0]);
  py::tuple shapes(x.size());
  for (std::size_t k = 0; k < x.size(); ++k) shapes[k] = x[k].attr("shape");
  const py::tuple joint = join(*shapes);
  std::vector<Index> lengths;
  for (py::handle length : joint) lengths.push_back(py::cast<Index>(length));
  return lengths;
}

// The shape that inputs broadcast to; raises pyref's ValueError where they do not.
inline std::vector<Index> joint_shape(const std::vector<py::array>& x) { return shape_by(of_merge("joint_shape"), x); }

inline py::array spread(const py::array& v, const std::vector<Index>& shape) {
  if (shape_of(v) == shape) return v;
  py::tuple to(shape.size());
  for (std::size_t d = 0; d < shape.size(); ++d) to[d] = shape[d];
  return py::module_::import("numpy").attr("broadcast_to")(v, to);
}

// The adjoint of spreading: a signal summed to the shape of what was spread.
inline py::object gathered(const py::object& signal, const py::array& v) {
  if (shape_of(py::cast<py::array>(signal)) == shape_of(v)) return signal;
  return of_merge("unbroadcast")(signal, v.attr("shape"));
}

inline Index elements(const std::vector<Index>& shape, std::size_t from = 0) {
  Index size = 1;
  for (std::size_t d = from; d < shape.size(); ++d) size *= shape[d];
  return size;
}

}  // namespace relprop::bind
