#include "relprop/pool.h"

#include <limits>

#include "pool.h"
#include "window.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

struct Geometry {
  bool is_compiled;
  cpu::Windows windows;
  std::vector<Index> counts;
};

std::shared_ptr<const Geometry> geometry_of(const py::array& x, const PoolSettings& s) {
  const auto call = py::make_tuple(x.attr("shape"), s.kernel, s.stride, s.padding, s.dilation, int{s.ceil_mode});
  return remembered<Geometry>(call, [&] {
    const auto of_pyref = py::module_::import("pyref.layers.pool").attr("max_pool_windows");
    const py::object w = of_pyref(x, s.kernel, s.stride, s.padding, s.dilation, s.ceil_mode);
    Geometry made{true, {}, numbers(w.attr("counts"))};
    const auto windows = windows_from(w);
    made.is_compiled = windows.has_value();
    if (!windows) return made;
    made.windows = *windows;
    Index places = 1;
    for (const Index length : windows->lengths) places *= length;
    made.is_compiled = places <= std::numeric_limits<std::int32_t>::max();
    return made;
  });
}

struct Host : InHostMemory {
  struct Windows {
    bool is_compiled;
    cpu::PoolSize size;
    std::vector<Index> shape;
  };

  static Windows windows(const py::array& x, const PoolSettings& settings) {
    const auto geometry = geometry_of(x, settings);
    Windows made{geometry->is_compiled, {x.shape(0), x.shape(1), geometry->windows}, {x.shape(0), x.shape(1)}};
    made.shape.insert(made.shape.end(), geometry->counts.begin(), geometry->counts.end());
    return made;
  }

  static py::object forward(const char*, const py::array& x, const Windows& windows) {
    return bind::filled<Repeats::yes>({x}, {windows.shape},
                                [size = windows.size](auto in, auto out) { cpu::max_pool_forward(size, in[0], out[0]); })[0];
  }

  // What goes back of a signal; the account is told of what winners receive beyond it.
  static py::object sent_back(const char*, const py::array& x, const Windows& windows, const py::array& signal, math::Ties ties,
                              const py::object& account) {
    const bool drops = !account.is_none() && ties == math::Ties::all;
    const auto parts = bind::filled<Repeats::yes>({x, signal}, {shape_of(x), {drops ? x.shape(0) : 0}},
                                            [size = windows.size, ties, drops](auto in, auto out) {
                                              cpu::max_pool_gradient(size, ties, in[0], in[1], drops ? out[1] : nullptr, out[0]);
                                            });
    if (drops) account.attr("add_kept")(py::module_::import("numpy").attr("zeros_like")(parts[1]), parts[1]);
    return parts[0];
  }

  static py::object tangent(const char*, const py::array& x, const Windows& windows, const py::array& dx, math::Ties ties) {
    return bind::filled<Repeats::yes>({x, dx}, {windows.shape}, [size = windows.size, ties](auto in, auto out) {
      cpu::max_pool_tangent(size, ties, in[0], in[1], out[0]);
    })[0];
  }

  static bool takes_baseline(const py::array& x, const py::array& x0, bool one_x0) { return one_x0 || shape_of(x0) == shape_of(x); }

  static py::object multiplier(const char*, const py::array& x, const Windows& windows, const py::array& x0, bool one_x0,
                               const py::array& M, math::Ties ties) {
    return bind::filled<Repeats::yes>({x, x0, M}, {shape_of(x)}, [size = windows.size, ties, one_x0](auto in, auto out) {
      cpu::max_pool_multiplier(size, ties, in[0], in[1], one_x0, in[2], out[0]);
    })[0];
  }

  static py::object ray(const char*, const py::array& x, const Windows& windows, const py::array& dx) {
    const auto parts = bind::filled({x, dx}, {windows.shape, {x.shape(0)}},
                              [&](auto in, auto out) { cpu::max_pool_ray(windows.size, in[0], in[1], out[0], out[1]); });
    return py::make_tuple(parts[0], parts[0].size() == 0 ? py::object(py::none()) : py::object(parts[1]));
  }
};

}  // namespace

void bind_pool(py::module_& cpu) { def_max_pool<Host>(cpu); }
