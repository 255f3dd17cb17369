// Dataclasses of pyref read into the structs of csrc/math that mirror them, field by field.
#pragma once

#include <type_traits>

#include "elementwise.h"

namespace relprop::bind {

inline void read_field(const char*, py::handle value, bool& field) { field = py::cast<bool>(value); }

template <class T, std::enable_if_t<std::is_floating_point_v<T>, int> = 0>
void read_field(const char* name, py::handle value, T& field) {
  if (!PyNumber_Check(value.ptr()) || py::isinstance<py::array>(value))
    throw py::type_error(std::string(name) + " is a " + Py_TYPE(value.ptr())->tp_name + ", expected a number");
  field = static_cast<T>(py::cast<double>(py::float_(py::reinterpret_borrow<py::object>(value))));
}

template <class E, std::enable_if_t<std::is_enum_v<E>, int> = 0>
void read_field(const char* name, py::handle value, E& field) {
  field = option<E>(name, py::cast<std::string>(value));
}

template <class Struct>
void read_fields(py::handle dataclass, Struct& compiled) {
  Struct::fields(compiled, [&](const char* name, auto& field) { read_field(name, dataclass.attr(name), field); });
}

// The names of a struct's fields.
template <class Struct>
py::tuple field_names() {
  py::list names;
  Struct unread{};
  Struct::fields(unread, [&](const char* name, auto&) { names.append(name); });
  return py::tuple(names);
}

}  // namespace relprop::bind
