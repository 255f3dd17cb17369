// Kernel calls that are made again: while a chain records, what the doors compute on its thread is kept, pointers and
// all, so that a later run reads and writes the same arrays without coming through a door.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <functional>
#include <optional>
#include <vector>

namespace relprop::bind {

namespace py = pybind11;

class Chain {
 public:
  // The chain that records on this thread, or null.
  static Chain*& recording() {
    thread_local Chain* chain = nullptr;
    return chain;
  }

  void keep(std::function<void()> work, std::vector<py::array> held) {
    work_.push_back(std::move(work));
    for (auto& array : held) held_.push_back(std::move(array));
  }
  std::size_t size() const { return work_.size(); }
  // Forgets what was kept since there were `size` of them.
  void shorten(std::size_t size, std::size_t held) {
    work_.resize(size);
    held_.resize(held);
  }
  const std::vector<py::array>& held() const { return held_; }
  void run(std::size_t first, std::size_t last) const {
    for (std::size_t k = first; k < last; ++k) work_[k]();
  }

 private:
  std::vector<std::function<void()>> work_;
  std::vector<py::array> held_;  // what the work reads and writes
};

inline void hold(std::vector<py::array>& all, const py::array& array) {
  if (array) all.push_back(array);
}
template <class Array>
void hold(std::vector<py::array>& all, const std::optional<Array>& array) {
  if (array) all.push_back(*array);
}
template <class Array>
void hold(std::vector<py::array>& all, const std::vector<Array>& arrays) {
  for (const auto& array : arrays) hold(all, array);
}

// What a call computes once its arguments are checked: now, without the GIL, and again wherever a chain that records
// runs. So `work` holds all it needs by value, but for the numbers of the arrays named after it; arrays of which it needs
// none are named too.
template <class Work, class... Arrays>
void compute(const Work& work, const Arrays&... arrays) {
  {
    py::gil_scoped_release release;
    work();
  }
  if (auto* chain = Chain::recording()) {
    std::vector<py::array> held;
    (hold(held, arrays), ...);
    chain->keep(work, std::move(held));
  }
}

}  // namespace relprop::bind
