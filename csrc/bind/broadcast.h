// The door of layers with several inputs, which broadcast against each other as pyref/layers/merge.py says.
#pragma once

#include "door.h"

namespace relprop::bind {

inline const std::vector<Index>& shape_of(const std::vector<Index>& shape) { return shape; }

// The shape that `join` makes of the arrays' shapes, which is not asked where they are alike.
template <class Array>
std::vector<Index> shape_by(const py::object& join, const std::vector<Array>& x) {
  bool alike = true;
  for (const auto& v : x) alike &= shape_of(v) == shape_of(x[0]);
  if (alike) return shape_of(x[0]);
  py::tuple shapes(x.size());
  for (std::size_t k = 0; k < x.size(); ++k) shapes[k] = shape_tuple(shape_of(x[k]));
  const py::tuple joint = join(*shapes);
  std::vector<Index> lengths;
  for (py::handle length : joint) lengths.push_back(py::cast<Index>(length));
  return lengths;
}

// The shape that inputs broadcast to; raises pyref's ValueError where they do not.
template <class Array>
std::vector<Index> joint_shape(const std::vector<Array>& x) {
  return shape_by(of_merge("joint_shape"), x);
}

inline Index elements(const std::vector<Index>& shape, std::size_t from = 0) {
  Index size = 1;
  for (std::size_t d = from; d < shape.size(); ++d) size *= shape[d];
  return size;
}

// The two inputs of a product.
template <class Door>
std::vector<typename Door::Array> two(const char* name, const py::object& x_) {
  std::vector<typename Door::Array> x;
  for (py::handle v : x_) x.push_back(Door::array(name, py::reinterpret_borrow<py::object>(v)));
  if (x.size() != 2) throw py::value_error(std::string(name) + " holds " + std::to_string(x.size()) + " arrays, expected 2");
  return x;
}

}  // namespace relprop::bind
