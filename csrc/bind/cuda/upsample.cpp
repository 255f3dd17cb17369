#include "cuda/upsample.h"

#include "affine.h"
#include "bind/upsample.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

using Stretched = LayerOf<cuda::UpsampleMap>;

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
  const auto z = upsampled_shape(x.shape(), *upsample_geometry(x.object, size, mode, align_corners));
  const auto shape = x.shape();
  check_sample("x", shape);
  check_sample("z", z);
  const bool is_nearest = py::cast<std::string>(mode) == "nearest", corners = py::cast<bool>(py::bool_(align_corners));
  Stretched made{{shape[0], static_cast<int>(shape[1]), {}}, z};
  std::size_t first = 2;
  for (; first < shape.size() && shape[first] == z[first]; ++first) made.map.outer *= static_cast<int>(shape[first]);
  const std::size_t count = shape.size() - first;
  if (count > cuda::UpsampleMap::rank)
    throw std::runtime_error(std::string(operation) + " over " + std::to_string(count) + " axes has no CUDA kernel");
  for (std::size_t d = 0; d < cuda::UpsampleMap::rank; ++d) {
    const std::size_t ahead = cuda::UpsampleMap::rank - count, axis = first + d - ahead;
    made.map.axes[d] = d < ahead ? cuda::StretchedAxis{1, 1} : stretched(shape[axis], z[axis], is_nearest, corners);
  }
  return made;
}

struct OnDevice : InDeviceMemory {
  static Stretched layer(const char* operation, const Argument& x, const py::object& size, const py::object& mode,
                         const py::object& align_corners) {
    return stretch_of(operation, x, size, mode, align_corners);
  }
  static py::object forward(const char* operation, const Argument& x, const Stretched& layer) {
    return affine_forward(operation, layer, x, nothing(), nothing());
  }
  static py::object gradient(const char* operation, const Argument& x, const Stretched& layer, const py::object& G) {
    return affine_gradient(operation, layer, x, nothing(), Argument("G", G));
  }
  static py::object relevance(const char* operation, const Argument& x, const Stretched& layer, const py::object& R,
                              const py::object& rule, const py::object& z, const py::object& account) {
    return affine_relevance(operation, layer, x, nothing(), nothing(), Argument("R", R), rule, or_none("z", z), account);
  }
};

}  // namespace

void bind_cuda_upsample(py::module_& module) { def_upsample<OnDevice>(module); }
