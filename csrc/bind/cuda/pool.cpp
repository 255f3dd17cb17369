#include "cuda/pool.h"

#include "bind/pool.h"
#include "door.h"
#include "windows.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// The windows over x, checked by pyref; what has more axes than kernels have is refused.
struct Windows {
  static constexpr bool is_compiled = true;
  cuda::PoolMap map;
  std::vector<Index> shape;
};

Windows windows_over(const Argument& x, const PoolSettings& s) {
  const auto axes = axes_for_kernels("pooling", py::module_::import("pyref.layers.pool")
                                               .attr("max_pool_windows")(x.object, s.kernel, s.stride, s.padding, s.dilation, s.ceil_mode));
  const auto shape = x.shape();
  Windows g{{shape[0], shape[1], {}, {}, {}, {}, {}, {}}, {shape[0], shape[1]}};
  for (std::size_t d = 0; d < 3; ++d) {
    const auto axis = d + axes.size() < 3 ? cuda::ConvAxis{1, 1, 1, 1, 0, 1} : axes[d + axes.size() - 3];
    g.map.lengths[d] = axis.length;
    g.map.counts[d] = axis.count;
    g.map.kernel[d] = axis.kernel;
    g.map.stride[d] = axis.stride;
    g.map.before[d] = axis.before;
    g.map.dilation[d] = axis.dilation;
  }
  for (const auto& axis : axes) g.shape.push_back(axis.count);
  check_sample("x", shape);
  check_sample("y", g.shape);
  return g;
}

struct OnDevice : InDeviceMemory {
  static Windows windows(const Argument& x, const PoolSettings& settings) { return windows_over(x, settings); }

  static py::object forward(const char* operation, const Argument& x, const Windows& windows) {
    Call call(operation, {&x});
    return call.with_widest([&](auto zero) {
      using T = decltype(zero);
      const T* x_data = call.in<T>(x);
      const auto y = call.out<T>(windows.shape);
      call.run([&] { cuda::max_pool_forward(call.operation(), call.stream(), windows.map, x_data, y.data()); });
      return call.give(y);
    });
  }

  // What goes back of a signal; the account is told of what winners receive beyond it.
  static py::object sent_back(const char* operation, const Argument& x, const Windows& windows, const Argument& signal,
                              math::Ties ties, const py::object& account) {
    const bool drops = !account.is_none() && ties == math::Ties::all;
    Call call(operation, {&x, &signal});
    return call.with_widest([&](auto zero) {
      using T = decltype(zero);
      const T *x_data = call.in<T>(x), *in = call.in<T>(signal);
      const auto out = call.out<T>(x.shape());
      const auto dropped = call.out<T>({drops ? x.shape()[0] : 0});
      call.run([&] {
        cuda::max_pool_gradient(call.operation(), call.stream(), windows.map, ties, x_data, in, dropped.data(), out.data());
      });
      if (drops) {
        const auto by_stabilizer = call.out<T>({x.shape()[0]});
        cuda::clear(call.operation(), by_stabilizer.data(), sizeof(T) * static_cast<std::size_t>(x.shape()[0]), call.stream());
        account.attr("add_kept")(call.give(by_stabilizer), call.give(dropped));
      }
      return call.give(out);
    });
  }

  static py::object tangent(const char* operation, const Argument& x, const Windows& windows, const Argument& dx, math::Ties ties) {
    Call call(operation, {&x, &dx});
    return call.with_widest([&](auto zero) {
      using T = decltype(zero);
      const T *x_data = call.in<T>(x), *change = call.in<T>(dx);
      const auto dy = call.out<T>(windows.shape);
      call.run([&] { cuda::max_pool_tangent(call.operation(), call.stream(), windows.map, ties, x_data, change, dy.data()); });
      return call.give(dy);
    });
  }

  // Others are spread to x; raises where that is not possible.
  static bool takes_baseline(const Argument& x, const Argument& x0, bool) {
    check_baseline(x.shape(), x0.shape());
    return true;
  }

  static py::object multiplier(const char* operation, const Argument& x, const Windows& windows, const Argument& x0, bool one_x0,
                               const Argument& M, math::Ties ties) {
    Call call(operation, {&x, &x0, &M});
    return call.with_widest([&](auto zero) {
      using T = decltype(zero);
      const T *x_data = call.in<T>(x), *x0_data = one_x0 ? call.in<T>(x0) : call.in<T>(x0, x.shape()), *M_data = call.in<T>(M);
      const auto M_x = call.out<T>(x.shape());
      call.run([&] {
        cuda::max_pool_multiplier(call.operation(), call.stream(), windows.map, ties, x_data, x0_data, one_x0, M_data, M_x.data());
      });
      return call.give(M_x);
    });
  }

  static py::object ray(const char* operation, const Argument& x, const Windows& windows, const Argument& dx) {
    Call call(operation, {&x, &dx});
    return call.with_widest([&](auto zero) -> py::object {
      using T = decltype(zero);
      const T *x_data = call.in<T>(x), *change = call.in<T>(dx);
      const auto dy = call.out<T>(windows.shape), t = call.out<T>({x.shape()[0]});
      call.run([&] { cuda::max_pool_ray(call.operation(), call.stream(), windows.map, x_data, change, dy.data(), t.data()); });
      return py::make_tuple(call.give(dy), dy.array.size() == 0 ? py::object(py::none()) : call.give(t));
    });
  }
};

}  // namespace

void bind_cuda_pool(py::module_& module) { def_max_pool<OnDevice>(module); }
