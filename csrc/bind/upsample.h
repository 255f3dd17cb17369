// What every output of an upsampling reads, as pyref says it, for the doors of all devices.
#pragma once

#include "geometry.h"
#include "relprop/upsample.h"

namespace relprop::bind {

// relprop::Taps that hold what they point to.
struct TapsOf {
  Index length, count;
  std::vector<Index> begin{0}, from{};
  std::vector<double> weight{};
};

struct UpsampleGeometry {
  std::vector<TapsOf> there, back;
  std::vector<Index> shape;  // of the axes after
};

// The adjoint: what every input is read by.
inline TapsOf transposed(const TapsOf& taps) {
  std::vector<std::vector<std::pair<Index, double>>> readers(static_cast<std::size_t>(taps.length));
  for (Index p = 0; p < taps.count; ++p)
    for (auto t = static_cast<std::size_t>(taps.begin[static_cast<std::size_t>(p)]);
         t < static_cast<std::size_t>(taps.begin[static_cast<std::size_t>(p) + 1]); ++t)
      readers[static_cast<std::size_t>(taps.from[t])].emplace_back(p, taps.weight[t]);
  TapsOf back{taps.count, taps.length};
  for (const auto& all : readers) {
    for (const auto& [p, weight] : all) {
      back.from.push_back(p);
      back.weight.push_back(weight);
    }
    back.begin.push_back(static_cast<Index>(back.from.size()));
  }
  return back;
}

// What pyref refuses is raised.
inline std::shared_ptr<const UpsampleGeometry> upsample_geometry(const std::vector<Index>& x, const py::object& size,
                                                                 const py::object& mode, const py::object& align_corners) {
  const bool corners = py::cast<bool>(py::bool_(align_corners));
  return remembered<UpsampleGeometry>(py::make_tuple(shape_tuple(x), size, mode, int{corners}), [&] {
    const auto pyref = py::module_::import("pyref.layers.upsample");
    const py::tuple rows = pyref.attr("upsample_rows")(stand_in(x), size, mode, corners);
    UpsampleGeometry made;
    for (std::size_t a = 0; a < rows.size(); ++a) {
      TapsOf taps{x[a + 2], 0};
      for (py::handle row : rows[a]) {
        for (py::handle each : row) {
          const auto tap = py::reinterpret_borrow<py::tuple>(each);
          const double weight = py::float_(tap[1]);
          if (weight == 0) continue;  // not connected
          taps.from.push_back(py::cast<Index>(tap[0]));
          taps.weight.push_back(weight);
        }
        taps.begin.push_back(static_cast<Index>(taps.from.size()));
        ++taps.count;
      }
      made.shape.push_back(taps.count);
      made.back.push_back(transposed(taps));
      made.there.push_back(std::move(taps));
    }
    return made;
  });
}

// (n, c, *the axes after)
inline std::vector<Index> upsampled_shape(const std::vector<Index>& x, const UpsampleGeometry& geometry) {
  std::vector<Index> shape(x.begin(), x.begin() + 2);
  shape.insert(shape.end(), geometry.shape.begin(), geometry.shape.end());
  return shape;
}

// A Door takes arrays as door.h says, and has the stretching, layer(operation, x, size, mode, align_corners), and what goes
// through it: forward(operation, x, layer), gradient(…, G), relevance(…, R, rule, z, account).
template <class Door>
struct Upsampling {
  using Array = typename Door::Array;

  static py::object forward(const py::object& x_, const py::object& size, const py::object& mode, const py::object& align_corners) {
    const Array x = Door::array("x", x_);
    return Door::forward("upsample_forward", x, Door::layer("upsample_forward", x, size, mode, align_corners));
  }
  static py::object gradient(const py::object& x_, const py::object& size, const py::object& G, const py::object& mode,
                             const py::object& align_corners) {
    const Array x = Door::array("x", x_);
    return Door::gradient("upsample_gradient", x, Door::layer("upsample_gradient", x, size, mode, align_corners), G);
  }
  static py::object tangent(const py::object& x, const py::object& size, const py::object& dx_, const py::object& mode,
                            const py::object& align_corners) {
    const Array dx = Door::array("dx", dx_, shape_of(Door::array("x", x)));
    return Door::forward("upsample_tangent", dx, Door::layer("upsample_tangent", dx, size, mode, align_corners));
  }
  static py::object relevance(const py::object& x_, const py::object& size, const py::object& R, const py::object& rule,
                              const py::object& z, const py::object& mode, const py::object& align_corners,
                              const py::object& account) {
    const Array x = Door::array("x", x_);
    const auto layer = Door::layer("upsample_relevance", x, size, mode, align_corners);
    return Door::relevance("upsample_relevance", x, layer, R, rule, z, account);
  }
};

template <class Door>
void def_upsample(py::module_& module) {
  using Of = Upsampling<Door>;
  def(module, "upsample_forward", &Of::forward);
  def(module, "upsample_gradient", &Of::gradient);
  def(module, "upsample_tangent", &Of::tangent);
  def(module, "upsample_relevance", &Of::relevance);
}

}  // namespace relprop::bind
