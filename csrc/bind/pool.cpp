// The maximum of each window, of pyref/layers/pool.py; averages are in reduce.cpp.
#include "relprop/pool.h"

#include <limits>

#include "window.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// The parameters of windows, as pyref's functions take them.
struct Settings {
  py::object kernel, stride, padding, dilation;
  bool ceil_mode;
};

struct Geometry {
  bool is_compiled;
  cpu::Windows windows;
  std::vector<Index> counts;
};

std::shared_ptr<const Geometry> geometry_of(const py::array& x, const Settings& s) {
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

// x with its windows: what every function of this file begins with.
struct Pooling {
  py::array x;
  std::shared_ptr<const Geometry> geometry;

  Pooling(const py::object& x_, const Settings& settings) : x(floats("x", x_)), geometry(geometry_of(x, settings)) {}

  bool is_compiled() const { return geometry->is_compiled; }
  cpu::PoolSize size() const { return {x.shape(0), x.shape(1), geometry->windows}; }
  std::vector<Index> shape() const {
    std::vector<Index> all{x.shape(0), x.shape(1)};
    all.insert(all.end(), geometry->counts.begin(), geometry->counts.end());
    return all;
  }
};

py::object max_pool_forward(const py::object& x, const py::object& kernel, const py::object& stride, const py::object& padding,
                            const py::object& dilation, bool ceil_mode) {
  const Pooling pool(x, {kernel, stride, padding, dilation, ceil_mode});
  if (!pool.is_compiled()) return reference("max_pool_forward", x, kernel, stride, padding, dilation, ceil_mode);
  return filled<Repeats::yes>({pool.x}, {pool.shape()}, [size = pool.size()](auto in, auto out) {
    cpu::max_pool_forward(size, in[0], out[0]);
  })[0];
}

// {what goes back of a signal, the surplus of each sample where `drops`, else nothing}
std::vector<py::array> sent_back(const Pooling& pool, const py::array& signal, math::Ties ties, bool drops) {
  const auto x_shape = shape_of(pool.x);
  return filled<Repeats::yes>({pool.x, signal}, {x_shape, {drops ? x_shape[0] : 0}},
                              [size = pool.size(), ties, drops](auto in, auto out) {
                                cpu::max_pool_gradient(size, ties, in[0], in[1], drops ? out[1] : nullptr, out[0]);
                              });
}

py::object max_pool_gradient(const py::object& x, const py::object& G_, const py::object& kernel, const py::object& stride,
                             const py::object& padding, const py::object& dilation, bool ceil_mode,
                             const py::object& ties) {
  const auto G = floats("G", G_);
  const Pooling pool(x, {kernel, stride, padding, dilation, ceil_mode});
  check_shape("G", G, pool.shape());
  if (!pool.is_compiled()) return reference("max_pool_gradient", x, G, kernel, stride, padding, dilation, ceil_mode, ties);
  return sent_back(pool, G, choice<math::Ties>("ties", ties), false)[0];
}

py::object max_pool_tangent(const py::object& x, const py::object& dx_, const py::object& kernel, const py::object& stride,
                            const py::object& padding, const py::object& dilation, bool ceil_mode,
                            const py::object& ties_) {
  const auto dx = floats("dx", dx_);
  check_shape("dx", dx, shape_of(floats("x", x)));
  const Pooling pool(x, {kernel, stride, padding, dilation, ceil_mode});
  if (!pool.is_compiled()) return reference("max_pool_tangent", x, dx, kernel, stride, padding, dilation, ceil_mode, ties_);
  const auto ties = choice<math::Ties>("ties", ties_);
  return filled({pool.x, dx}, {pool.shape()},
                [&](auto in, auto out) { cpu::max_pool_tangent(pool.size(), ties, in[0], in[1], out[0]); })[0];
}

py::object max_pool_relevance(const py::object& x, const py::object& R_, const py::object& kernel, const py::object& stride,
                              const py::object& padding, const py::object& dilation, bool ceil_mode,
                              const py::object& ties_, const py::object& account) {
  const auto R = floats("R", R_);
  const Pooling pool(x, {kernel, stride, padding, dilation, ceil_mode});
  check_shape("R", R, pool.shape());
  if (!pool.is_compiled())
    return reference("max_pool_relevance", x, R, kernel, stride, padding, dilation, ceil_mode, ties_, account);
  const auto ties = choice<math::Ties>("ties", ties_);
  const bool drops = !account.is_none() && ties == math::Ties::all;
  const auto parts = sent_back(pool, R, ties, drops);
  if (drops) account.attr("add_kept")(py::module_::import("numpy").attr("zeros_like")(parts[1]), parts[1]);
  return parts[0];
}

py::object max_pool_multiplier(const py::object& x, const py::object& x0_, const py::object& M_, const py::object& kernel,
                               const py::object& stride, const py::object& padding, const py::object& dilation,
                               bool ceil_mode, const py::object& ties_, const py::object& max_pool) {
  if (choice<math::MaxPool>("max_pool", max_pool) == math::MaxPool::gradient)
    return max_pool_gradient(x, M_, kernel, stride, padding, dilation, ceil_mode, ties_);
  const auto x0 = floats("x0", x0_), M = floats("M", M_);
  const Pooling pool(x, {kernel, stride, padding, dilation, ceil_mode});
  auto one_sample = shape_of(pool.x);
  one_sample[0] = 1;
  const bool one_x0 = shape_of(x0) == one_sample;
  if (!pool.is_compiled() || !(one_x0 || shape_of(x0) == shape_of(pool.x)))
    return reference("max_pool_multiplier", x, x0, M, kernel, stride, padding, dilation, ceil_mode, ties_, max_pool);
  check_shape("M", M, pool.shape());
  const auto ties = choice<math::Ties>("ties", ties_);
  return filled<Repeats::yes>({pool.x, x0, M}, {shape_of(pool.x)}, [size = pool.size(), ties, one_x0](auto in, auto out) {
    cpu::max_pool_multiplier(size, ties, in[0], in[1], one_x0, in[2], out[0]);
  })[0];
}

py::object max_pool_ray(const py::object& x, const py::object& dx_, const py::object& kernel, const py::object& stride,
                        const py::object& padding, const py::object& dilation, bool ceil_mode) {
  const auto dx = floats("dx", dx_);
  check_shape("dx", dx, shape_of(floats("x", x)));
  const Pooling pool(x, {kernel, stride, padding, dilation, ceil_mode});
  if (!pool.is_compiled()) return reference("max_pool_ray", x, dx, kernel, stride, padding, dilation, ceil_mode);
  const auto parts = filled({pool.x, dx}, {pool.shape(), {pool.x.shape(0)}}, [&](auto in, auto out) {
    cpu::max_pool_ray(pool.size(), in[0], in[1], out[0], out[1]);
  });
  return py::make_tuple(parts[0], parts[0].size() == 0 ? py::object(py::none()) : py::object(parts[1]));
}

}  // namespace

void bind_pool(py::module_& cpu) {
  def(cpu, "max_pool_forward", &max_pool_forward);
  def(cpu, "max_pool_gradient", &max_pool_gradient);
  def(cpu, "max_pool_tangent", &max_pool_tangent);
  def(cpu, "max_pool_relevance", &max_pool_relevance);
  def(cpu, "max_pool_multiplier", &max_pool_multiplier);
  def(cpu, "max_pool_ray", &max_pool_ray);
}
