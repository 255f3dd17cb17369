#include "cuda/upsample.h"

#include "bind/upsample.h"
#include "door.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

struct Stretched {
  cuda::UpsampleMap map;
  std::vector<Index> z;
};

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

py::object stretch(const char* operation, const Argument& x, const py::object& size, const py::object& mode,
                   const py::object& align_corners) {
  const auto to = stretch_of(operation, x, size, mode, align_corners);
  Call call(operation, {&x});
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const T* x_data = call.in<T>(x);
    const auto z = call.out<T>(to.z);
    call.run([&] { cuda::upsample_forward(call.operation(), call.stream(), to.map, x_data, z.data()); });
    return call.give(z);
  });
}

struct OnDevice {
  static py::object forward(const py::object& x, const py::object& size, const py::object& mode, const py::object& align_corners) {
    return stretch("upsample_forward", Argument("x", x), size, mode, align_corners);
  }

  static py::object gradient(const py::object& x_, const py::object& size, const py::object& G_, const py::object& mode,
                             const py::object& align_corners) {
    const Argument x("x", x_), G("G", G_);
    const auto to = stretch_of("upsample_gradient", x, size, mode, align_corners);
    check_shape(G, to.z);
    Call call("upsample_gradient", {&x, &G});
    return call.with_widest([&](auto zero) {
      using T = decltype(zero);
      const T* G_data = call.in<T>(G);
      const auto G_x = call.out<T>(x.shape());
      call.run([&] { cuda::upsample_gradient(call.operation(), call.stream(), to.map, G_data, G_x.data()); });
      return call.give(G_x);
    });
  }

  static py::object tangent(const py::object& x, const py::object& size, const py::object& dx_, const py::object& mode,
                            const py::object& align_corners) {
    const Argument dx("dx", dx_);
    check_shape(dx, Argument("x", x).shape());
    return stretch("upsample_tangent", dx, size, mode, align_corners);
  }

  static py::object relevance(const py::object& x_, const py::object& size, const py::object& R_, const py::object& rule,
                              const py::object& z_, const py::object& mode, const py::object& align_corners, const py::object& account) {
    const Argument x("x", x_), R("R", R_), z = or_none("z", z_);
    const auto to = stretch_of("upsample_relevance", x, size, mode, align_corners);
    check_shape(R, to.z);
    if (z) check_shape(z, to.z);
    Call call("upsample_relevance", {&x, &R, &z});
    return call.with_widest([&](auto zero) {
      using T = decltype(zero);
      const auto made = device_rule<T>(call, rule, x);
      if (std::holds_alternative<math::Pass<T>>(made.rule)) return pass(x, R);
      const T *x_data = call.in<T>(x), *R_data = call.in<T>(R), *z_data = call.in<T>(z);
      const DeviceAccount<T> kept(call, account, R, false);
      const auto r = call.out<T>(x.shape());
      call.run([&] {
        cuda::upsample_relevance(call.operation(), call.stream(), to.map, x_data, R_data, made.rule, made.bounds, z_data, kept.pointer(),
                                 r.data());
      });
      kept.write();
      return call.give(r);
    });
  }
};

}  // namespace

void bind_cuda_upsample(py::module_& module) { def_upsample<OnDevice>(module); }
