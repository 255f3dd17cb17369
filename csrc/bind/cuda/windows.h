// pyref.layers.window.Windows, read axis by axis.
#pragma once

#include <pybind11/stl.h>

#include <vector>

#include "array.h"
#include "cuda/conv.h"

namespace relprop::bind {

inline std::vector<cuda::ConvAxis> axes_of(const py::object& windows) {
  const auto numbers = [&](const char* field) { return py::cast<std::vector<int>>(windows.attr(field)); };
  const auto lengths = numbers("lengths"), counts = numbers("counts"), kernel = numbers("kernel"), stride = numbers("stride"),
             dilation = numbers("dilation");
  const auto padding = py::cast<py::tuple>(windows.attr("padding"));
  std::vector<cuda::ConvAxis> axes;
  for (std::size_t d = 0; d < lengths.size(); ++d)
    axes.push_back({lengths[d], counts[d], kernel[d], stride[d], py::cast<py::tuple>(padding[d])[0].cast<int>(), dilation[d]});
  return axes;
}

// The same where kernels have as many axes.
inline std::vector<cuda::ConvAxis> axes_for_kernels(const char* what, const py::object& windows) {
  const auto axes = axes_of(windows);
  if (axes.size() > 3) throw std::runtime_error(std::string(what) + " over " + std::to_string(axes.size()) + " axes has no CUDA kernel");
  return axes;
}

}  // namespace relprop::bind
