// What pyref says of the geometry of a call: it checks the arguments, and is asked once for each of them.
#pragma once

#include <algorithm>
#include <memory>
#include <unordered_map>

#include "door.h"

namespace relprop::bind {

// Whether equal arguments mean the same: numbers of other types, such as True and 1.0, equal a whole number too.
inline bool is_plain(py::handle argument) {
  if (PyTuple_CheckExact(argument.ptr()))
    return std::all_of(argument.begin(), argument.end(), [](py::handle each) { return is_plain(each); });
  return argument.is_none() || PyLong_CheckExact(argument.ptr()) || PyUnicode_CheckExact(argument.ptr());
}

// The geometry that make() reads from pyref for a call with these arguments; what make() raises is not kept.
template <class Geometry, class Make>
std::shared_ptr<const Geometry> remembered(const py::tuple& call, Make&& make) {
  struct Hash {
    std::size_t operator()(const py::tuple& key) const { return static_cast<std::size_t>(py::hash(key)); }
  };
  struct Equal {
    bool operator()(const py::tuple& a, const py::tuple& b) const { return a.equal(b); }
  };
  using Known = std::unordered_map<py::tuple, std::shared_ptr<const Geometry>, Hash, Equal>;
  constexpr std::size_t most = 1024;
  static auto& known = *new Known;  // never destroyed: Python may be gone by then
  if (!is_plain(call)) return std::make_shared<const Geometry>(make());
  const auto found = known.find(call);
  if (found != known.end()) return found->second;
  const auto made = std::make_shared<const Geometry>(make());
  if (known.size() >= most) known.clear();
  known.emplace(call, made);
  return made;
}

inline std::vector<Index> numbers(const py::object& all) {
  std::vector<Index> list;
  for (py::handle number : all) list.push_back(py::cast<Index>(number));
  return list;
}

}  // namespace relprop::bind
