#include "cuda/upsample.h"

#include "affine.h"
#include "bind/upsample.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

using Stretched = Layer<cuda::UpsampleMap>;

cuda::StretchedAxis stretched(Index length, Index count, bool is_nearest, bool corners) {
  cuda::StretchedAxis axis{static_cast<int>(length), static_cast<int>(count)};
  axis.is_nearest = is_nearest;
  if (is_nearest) {
    axis.pace = length;
    axis.per = count;
  } else if (!corners) {
    axis.pace = 2 * length;
    axis.from = length - count;
    axis.per = 2 * count;
  } else if (length > 1 && count > 1) {
    axis.pace = length - 1;
    axis.per = count - 1;
  }
  return axis;
}

// Neighbouring axes that stay as they are, from the first on, are one with the channels.
Stretched stretch_of(const char* operation, const Argument& x, const py::object& size, const py::object& mode,
                     const py::object& align_corners) {
  const auto shape = x.shape();
  const auto z = upsampled_shape(shape, *upsample_geometry(shape, size, mode, align_corners));
  check_sample("x", shape);
  check_sample("z", z);
  const bool is_nearest = py::cast<std::string>(mode) == "nearest", corners = py::cast<bool>(py::bool_(align_corners));
  Stretched made{{shape[0], static_cast<int>(shape[1]), {}}, z};
  std::size_t first = 2;
  for (; first < shape.size() && shape[first] == z[first]; ++first) made.size.outer *= static_cast<int>(shape[first]);
  const std::size_t count = shape.size() - first;
  if (count > cuda::UpsampleMap::rank)
    throw std::runtime_error(std::string(operation) + " over " + std::to_string(count) + " axes has no CUDA kernel");
  for (std::size_t d = 0; d < cuda::UpsampleMap::rank; ++d) {
    const std::size_t ahead = cuda::UpsampleMap::rank - count, axis = first + d - ahead;
    made.size.axes[d] = d < ahead ? cuda::StretchedAxis{1, 1} : stretched(shape[axis], z[axis], is_nearest, corners);
  }
  return made;
}

struct UpsampleOnDevice : Unweighted<LayersInDeviceMemory<>> {
  static Stretched layer(const char* operation, const Argument& x, const py::object& size, const py::object& mode,
                         const py::object& align_corners) {
    return stretch_of(operation, x, size, mode, align_corners);
  }
};

}  // namespace

void bind_cuda_upsample(py::module_& module) { def_upsample<UpsampleOnDevice>(module); }
