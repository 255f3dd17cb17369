// The door for elementwise functions: NumPy arrays in, one value at a time to the scalar function, NumPy out.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <vector>

namespace relprop::bind {

namespace py = pybind11;

template <class T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;

// Calls f(T{}) with the scalar type of x.
template <class F>
py::object with_dtype(const char* name, const py::array& x, F&& f) {
  if (py::isinstance<py::array_t<float>>(x)) return f(float{});
  if (py::isinstance<py::array_t<double>>(x)) return f(double{});
  throw py::type_error(std::string(name) + " has dtype " + py::str(x.dtype()).cast<std::string>() +
                       ", expected float32 or float64");
}

// An array of the dtype and shape of `like`; its strides may differ.
template <class T>
Array<T> matching(const char* name, const py::array& x, const py::array& like) {
  if (!py::isinstance<py::array_t<T>>(x)) throw py::type_error(std::string(name) + " has another dtype than the first array");
  if (x.ndim() != like.ndim() || !std::equal(x.shape(), x.shape() + x.ndim(), like.shape()))
    throw py::value_error(std::string(name) + " has shape " + py::str(x.attr("shape")).cast<std::string>() + ", expected " +
                          py::str(like.attr("shape")).cast<std::string>());
  return Array<T>(x);
}

template <class T>
Array<T> empty_like(const py::array& x) {
  return Array<T>(std::vector<py::ssize_t>(x.shape(), x.shape() + x.ndim()));
}

// The option that a word names.
template <class E>
E option(const char* name, const std::string& word) {
  const auto known = words(E{});
  for (std::size_t i = 0; i < known.size(); ++i)
    if (word == known[i]) return static_cast<E>(i);
  throw py::value_error(std::string(name) + " is '" + word + "', which the compiled code does not know");
}

}  // namespace relprop::bind
