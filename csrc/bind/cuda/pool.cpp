// The maximum of each window, of pyref/layers/pool.py.
#include "cuda/pool.h"

#include <pybind11/stl.h>

#include "door.h"
#include "windows.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// The parameters of windows, as pyref's functions take them.
struct Settings {
  py::object kernel, stride, padding, dilation, ceil_mode;
};

// The geometry, checked by pyref, and the shape of y.
struct Geometry {
  cuda::PoolMap map;
  std::vector<Index> y;
};

Geometry geometry(const Argument& x, const Settings& s) {
  const auto axes = axes_for_kernels("pooling", py::module_::import("pyref.layers.pool")
                                               .attr("max_pool_windows")(x.object, s.kernel, s.stride, s.padding, s.dilation, s.ceil_mode));
  const auto shape = x.shape();
  Geometry g{{shape[0], shape[1], {}, {}, {}, {}, {}, {}}, {shape[0], shape[1]}};
  for (std::size_t d = 0; d < 3; ++d) {
    const auto axis = d + axes.size() < 3 ? cuda::ConvAxis{1, 1, 1, 1, 0, 1} : axes[d + axes.size() - 3];
    g.map.lengths[d] = axis.length;
    g.map.counts[d] = axis.count;
    g.map.kernel[d] = axis.kernel;
    g.map.stride[d] = axis.stride;
    g.map.before[d] = axis.before;
    g.map.dilation[d] = axis.dilation;
  }
  for (const auto& axis : axes) g.y.push_back(axis.count);
  check_sample("x", shape);
  check_sample("y", g.y);
  return g;
}

py::object max_pool_forward(const py::object& x_, const py::object& kernel, const py::object& stride, const py::object& padding,
                            const py::object& dilation, const py::object& ceil_mode) {
  const Argument x("x", x_);
  const auto g = geometry(x, {kernel, stride, padding, dilation, ceil_mode});
  Call call("max_pool_forward", {&x});
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const T* x_data = call.in<T>(x);
    const auto y = call.out<T>(g.y);
    call.run([&] { cuda::max_pool_forward(call.operation(), call.stream(), g.map, x_data, y.data()); });
    return call.give(y);
  });
}

// What goes back of a signal; the account is told of what winners receive beyond it.
py::object sent_back(const char* operation, const Argument& x, const Argument& signal, const Settings& settings,
                     const py::object& ties_, const py::object& account) {
  const auto g = geometry(x, settings);
  check_shape(signal, g.y);
  const auto ties = choice<math::Ties>("ties", ties_);
  const bool drops = !account.is_none() && ties == math::Ties::all;
  Call call(operation, {&x, &signal});
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const T *x_data = call.in<T>(x), *in = call.in<T>(signal);
    const auto out = call.out<T>(x.shape());
    const auto dropped = call.out<T>({drops ? x.shape()[0] : 0});
    call.run([&] { cuda::max_pool_gradient(call.operation(), call.stream(), g.map, ties, x_data, in, dropped.data(), out.data()); });
    if (drops) {
      const auto by_stabilizer = call.out<T>({x.shape()[0]});
      cuda::clear(call.operation(), by_stabilizer.data(), sizeof(T) * static_cast<std::size_t>(x.shape()[0]), call.stream());
      account.attr("add_kept")(call.give(by_stabilizer), call.give(dropped));
    }
    return call.give(out);
  });
}

py::object max_pool_gradient(const py::object& x, const py::object& G, const py::object& kernel, const py::object& stride,
                             const py::object& padding, const py::object& dilation, const py::object& ceil_mode,
                             const py::object& ties) {
  return sent_back("max_pool_gradient", Argument("x", x), Argument("G", G), {kernel, stride, padding, dilation, ceil_mode}, ties,
                   py::none());
}

py::object max_pool_tangent(const py::object& x_, const py::object& dx_, const py::object& kernel, const py::object& stride,
                            const py::object& padding, const py::object& dilation, const py::object& ceil_mode,
                            const py::object& ties_) {
  const Argument x("x", x_), dx("dx", dx_);
  check_shape(dx, x.shape());
  const auto g = geometry(x, {kernel, stride, padding, dilation, ceil_mode});
  const auto ties = choice<math::Ties>("ties", ties_);
  Call call("max_pool_tangent", {&x, &dx});
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const T *x_data = call.in<T>(x), *change = call.in<T>(dx);
    const auto dy = call.out<T>(g.y);
    call.run([&] { cuda::max_pool_tangent(call.operation(), call.stream(), g.map, ties, x_data, change, dy.data()); });
    return call.give(dy);
  });
}

py::object max_pool_relevance(const py::object& x, const py::object& R, const py::object& kernel, const py::object& stride,
                              const py::object& padding, const py::object& dilation, const py::object& ceil_mode,
                              const py::object& ties, const py::object& account) {
  return sent_back("max_pool_relevance", Argument("x", x), Argument("R", R), {kernel, stride, padding, dilation, ceil_mode}, ties,
                   account);
}

py::object max_pool_multiplier(const py::object& x_, const py::object& x0_, const py::object& M_, const py::object& kernel,
                               const py::object& stride, const py::object& padding, const py::object& dilation,
                               const py::object& ceil_mode, const py::object& ties_, const py::object& max_pool) {
  const Argument x("x", x_), M("M", M_);
  if (choice<math::MaxPool>("max_pool", max_pool) == math::MaxPool::gradient)
    return sent_back("max_pool_multiplier", x, M, {kernel, stride, padding, dilation, ceil_mode}, ties_, py::none());
  const Argument x0("x0", x0_);
  auto one_sample = x.shape();
  if (!one_sample.empty()) one_sample[0] = 1;
  const bool one_x0 = x0.shape() == one_sample;
  check_baseline(x, x0);
  const auto g = geometry(x, {kernel, stride, padding, dilation, ceil_mode});
  check_shape(M, g.y);
  const auto ties = choice<math::Ties>("ties", ties_);
  Call call("max_pool_multiplier", {&x, &x0, &M});
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const T *x_data = call.in<T>(x), *x0_data = one_x0 ? call.in<T>(x0) : call.in<T>(x0, x.shape()), *M_data = call.in<T>(M);
    const auto M_x = call.out<T>(x.shape());
    call.run([&] {
      cuda::max_pool_multiplier(call.operation(), call.stream(), g.map, ties, x_data, x0_data, one_x0, M_data, M_x.data());
    });
    return call.give(M_x);
  });
}

py::object max_pool_ray(const py::object& x_, const py::object& dx_, const py::object& kernel, const py::object& stride,
                        const py::object& padding, const py::object& dilation, const py::object& ceil_mode) {
  const Argument x("x", x_), dx("dx", dx_);
  check_shape(dx, x.shape());
  const auto g = geometry(x, {kernel, stride, padding, dilation, ceil_mode});
  Call call("max_pool_ray", {&x, &dx});
  return call.with_widest([&](auto zero) -> py::object {
    using T = decltype(zero);
    const T *x_data = call.in<T>(x), *change = call.in<T>(dx);
    const auto dy = call.out<T>(g.y), t = call.out<T>({x.shape()[0]});
    call.run([&] { cuda::max_pool_ray(call.operation(), call.stream(), g.map, x_data, change, dy.data(), t.data()); });
    return py::make_tuple(call.give(dy), dy.array.size() == 0 ? py::object(py::none()) : call.give(t));
  });
}

}  // namespace

void bind_cuda_pool(py::module_& module) {
  def(module, "max_pool_forward", &max_pool_forward);
  def(module, "max_pool_gradient", &max_pool_gradient);
  def(module, "max_pool_tangent", &max_pool_tangent);
  def(module, "max_pool_relevance", &max_pool_relevance);
  def(module, "max_pool_multiplier", &max_pool_multiplier);
  def(module, "max_pool_ray", &max_pool_ray);
}
