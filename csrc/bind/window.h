// Windows at the door of any device: the geometry that pyref gives them.
#pragma once

#include "geometry.h"
#include "relprop/window.h"

namespace relprop::bind {

using cpu::window_axes;

// The geometry of a pyref.layers.window.Windows; none where it has more axes than kernels have, or numbers that they
// do not count to.
inline std::optional<cpu::Windows> windows_from(const py::object& made) {
  cpu::Windows windows{{1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}};
  const int rank = static_cast<int>(py::len(made.attr("lengths")));
  bool fits = rank <= window_axes;
  const auto read = [&](const char* name, Index* out, bool first_of_pair = false) {
    for (int i = 0; i < rank && fits; ++i) {
      py::object number = py::object(made.attr(name))[py::int_(i)];
      if (first_of_pair) number = number[py::int_(0)];
      int overflow = 0;
      out[window_axes - rank + i] = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
      fits &= overflow == 0 && out[window_axes - rank + i] < (Index{1} << 31);
    }
  };
  read("lengths", windows.lengths);
  read("counts", windows.counts);
  read("kernel", windows.kernel);
  read("stride", windows.stride);
  read("padding", windows.before, true);
  read("dilation", windows.dilation);
  if (!fits) return std::nullopt;
  return windows;
}

// The shape (samples, channels, *the last of the lengths), with so many axes.
inline std::vector<Index> image_shape(Index samples, Index channels, const Index* lengths, std::size_t axes) {
  std::vector<Index> shape{samples, channels};
  for (std::size_t d = window_axes + 2 - axes; d < window_axes; ++d) shape.push_back(lengths[d]);
  return shape;
}

}  // namespace relprop::bind
