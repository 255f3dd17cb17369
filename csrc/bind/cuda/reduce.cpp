// Weighted sums over boxes: sums and means over axes, of pyref/layers/reduce.py, and the averages of pyref/layers/pool.py.
#include "cuda/reduce.h"

#include <pybind11/stl.h>

#include "bind/geometry.h"
#include "door.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

using cuda::BoxAxis;

BoxAxis kept(int length) { return {length, length, 1, 1, 1, 0, 0, length}; }
BoxAxis summed(int length) { return {length, 1, std::max(1, length), 1, length, 0, 0, length}; }

bool is_kept(const BoxAxis& a) { return a.count == a.length && a.pace == 1 && a.per == 1 && a.reach == 1 && a.before == 0; }
bool is_summed(const BoxAxis& a) { return a.count == 1 && a.per == 1 && a.reach == a.length && a.before == 0 && a.most == a.length; }

// The axes after the samples, and the shape of the result after the axes `before`, which are kept.
struct Boxes {
  std::size_t before;
  std::vector<BoxAxis> axes;
  std::vector<Index> shape;
  bool averages;
};
using AnyBoxes = std::shared_ptr<const Boxes>;

std::vector<Index> shape_after(const Argument& x, const Boxes& boxes) {
  auto shape = x.shape();
  shape.resize(boxes.before);
  shape.insert(shape.end(), boxes.shape.begin(), boxes.shape.end());
  return shape;
}

// Neighbouring axes that are both kept, or both summed, are one; the first is kept.
cuda::BoxMap map_of(const char* operation, const Argument& x, const Boxes& boxes) {
  check_sample("x", x.shape());
  check_sample("z", shape_after(x, boxes));
  std::vector<BoxAxis> axes{kept(1)};
  for (const BoxAxis& axis : boxes.axes) {
    BoxAxis& last = axes.back();
    if (is_kept(last) && is_kept(axis))
      last = kept(last.length * axis.length);
    else if (axes.size() > 1 && is_summed(last) && is_summed(axis))
      last = summed(last.length * axis.length);
    else
      axes.push_back(axis);
  }
  cuda::BoxMap map{x.shape()[0], axes[0].length, {}, boxes.averages};
  const std::size_t count = axes.size() - 1, ahead = cuda::BoxMap::rank - count;
  if (count > cuda::BoxMap::rank)
    throw std::runtime_error(std::string(operation) + " over " + std::to_string(count) + " separate axes has no CUDA kernel");
  for (std::size_t d = 0; d < cuda::BoxMap::rank; ++d) map.axes[d] = d < ahead ? kept(1) : axes[d - ahead + 1];
  return map;
}

py::object forward(const char* operation, const Argument& x, const Boxes& boxes) {
  const auto map = map_of(operation, x, boxes);
  Call call(operation, {&x});
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const T* x_data = call.in<T>(x);
    const auto z = call.out<T>(shape_after(x, boxes));
    call.run([&] { cuda::reduce_forward(call.operation(), call.stream(), map, x_data, z.data()); });
    return call.give(z);
  });
}

py::object gradient(const char* operation, const Argument& x, const Boxes& boxes, const py::object& G_) {
  const Argument G("G", G_);
  check_shape(G, shape_after(x, boxes));
  const auto map = map_of(operation, x, boxes);
  Call call(operation, {&G});
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const T* G_data = call.in<T>(G);
    const auto G_x = call.out<T>(x.shape());
    call.run([&] { cuda::reduce_gradient(call.operation(), call.stream(), map, G_data, G_x.data()); });
    return call.give(G_x);
  });
}

py::object relevance(const char* operation, const Argument& x, const Boxes& boxes, const py::object& R_, const py::object& rule,
                     const py::object& z_, const py::object& account) {
  const Argument R("R", R_), z = or_none("z", z_);
  check_shape(R, shape_after(x, boxes));
  if (z) check_shape(z, R.shape());
  const auto map = map_of(operation, x, boxes);
  Call call(operation, {&x, &R, &z});
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const auto made = device_rule<T>(call, rule, x);
    if (std::holds_alternative<math::Pass<T>>(made.rule)) return pass(x, R);
    const T *x_data = call.in<T>(x), *R_data = call.in<T>(R), *z_data = call.in<T>(z);
    const DeviceAccount<T> kept(call, account, R, false);
    const auto r = call.out<T>(x.shape());
    call.run([&] {
      cuda::reduce_relevance(call.operation(), call.stream(), map, x_data, R_data, made.rule, made.bounds, z_data, kept.pointer(),
                             r.data());
    });
    kept.write();
    return call.give(r);
  });
}

// dx, of x's shape
Argument change(const py::object& x, const py::object& dx_) {
  Argument dx("dx", dx_);
  check_shape(dx, Argument("x", x).shape());
  return dx;
}

py::tuple shape_tuple(const Argument& x) { return py::tuple(py::cast(x.shape())); }

// ---- sums and means over axes ----

AnyBoxes over_axes(const Argument& x, const py::object& axes, bool keepdims, bool averages) {
  return remembered<Boxes>(py::make_tuple(shape_tuple(x), axes, int{keepdims}, int{averages}), [&] {
    const auto of_pyref = py::module_::import("pyref.layers.reduce");
    const auto along = numbers(of_pyref.attr("sample_axes")(x.object, axes));
    auto shape = numbers(of_pyref.attr("reduced_shape")(x.object, axes, keepdims));
    shape.erase(shape.begin());
    Boxes made{1, {}, shape, averages};
    const auto lengths = x.shape();
    for (std::size_t a = 1; a < lengths.size(); ++a) {
      const bool is_along = std::count(along.begin(), along.end(), static_cast<Index>(a)) > 0;
      made.axes.push_back((is_along ? summed : kept)(static_cast<int>(lengths[a])));
    }
    return made;
  });
}

template <bool averages>
py::object axes_forward(const py::object& x_, const py::object& axes, bool keepdims) {
  const Argument x("x", x_);
  return forward(averages ? "mean_forward" : "sum_forward", x, *over_axes(x, axes, keepdims, averages));
}

template <bool averages>
py::object axes_gradient(const py::object& x_, const py::object& axes, const py::object& G, bool keepdims) {
  const Argument x("x", x_);
  return gradient(averages ? "mean_gradient" : "sum_gradient", x, *over_axes(x, axes, keepdims, averages), G);
}

template <bool averages>
py::object axes_tangent(const py::object& x, const py::object& axes, const py::object& dx_, bool keepdims) {
  const Argument dx = change(x, dx_);
  return forward(averages ? "mean_tangent" : "sum_tangent", dx, *over_axes(dx, axes, keepdims, averages));
}

template <bool averages>
py::object axes_relevance(const py::object& x_, const py::object& axes, const py::object& R, const py::object& rule,
                          const py::object& z, bool keepdims, const py::object& account) {
  const Argument x("x", x_);
  return relevance(averages ? "mean_relevance" : "sum_relevance", x, *over_axes(x, axes, keepdims, averages), R, rule, z, account);
}

// ---- averages of windows ----

// The geometry of windows over the axes of an image, whose number pyref finds: axis(length, count, number of the axis).
template <class Axis>
Boxes pooling(const Argument& x, const py::object& of_pyref, Axis&& axis) {
  Boxes made{2, {kept(static_cast<int>(x.shape()[1]))}, {}, true};
  int number = 0;
  for (py::handle windows : py::cast<py::tuple>(of_pyref)[0]) {
    const auto length = static_cast<int>(x.shape()[made.axes.size() + 1]), count = static_cast<int>(py::len(windows));
    made.axes.push_back(axis(length, count, number++));
    made.shape.push_back(count);
  }
  return made;
}

// The parameters of windows, as pyref's functions take them.
struct Settings {
  py::object kernel, stride, padding;
  bool ceil_mode, count_include_pad;
};

AnyBoxes average(const Argument& x, const Settings& s) {
  const auto call = py::make_tuple("avg_pool", shape_tuple(x), s.kernel, s.stride, s.padding, int{s.ceil_mode}, int{s.count_include_pad});
  return remembered<Boxes>(call, [&] {
    const py::object found = py::module_::import("pyref.layers.pool")
                                 .attr("avg_pool_boxes")(x.object, s.kernel, s.stride, s.padding, s.ceil_mode, s.count_include_pad);
    const auto of_pyref = py::module_::import("pyref.layers.window");
    const int rank = static_cast<int>(x.ndim()) - 2;
    const auto kernel = py::cast<std::vector<int>>(of_pyref.attr("per_axis")("kernel", s.kernel, rank));
    const auto stride =
        s.stride.is_none() ? kernel : py::cast<std::vector<int>>(of_pyref.attr("per_axis")("stride", s.stride, rank));
    const auto padding = py::cast<std::vector<std::pair<int, int>>>(of_pyref.attr("padding_pairs")(s.padding, rank));
    return pooling(x, found, [&](int length, int count, int number) {
      const auto d = static_cast<std::size_t>(number);
      const auto [before, after] = padding[d];
      if (kernel[d] == length && before == 0 && count == 1) return summed(length);
      if (kernel[d] == 1 && stride[d] == 1 && before == 0 && after == 0) return kept(length);
      const int beyond = s.count_include_pad ? 1 : 0;
      return BoxAxis{length, count, stride[d], 1, kernel[d], before, -before * beyond, length + after * beyond};
    });
  });
}

AnyBoxes adaptive(const Argument& x, const py::object& output_size) {
  return remembered<Boxes>(py::make_tuple("adaptive_avg_pool", shape_tuple(x), output_size), [&] {
    const py::object found = py::module_::import("pyref.layers.pool").attr("adaptive_avg_pool_boxes")(x.object, output_size);
    return pooling(x, found, [&](int length, int count, int) {
      if (count == 1) return summed(length);
      if (count == length) return kept(length);
      return BoxAxis{length, count, length, count, length, 0, 0, length};
    });
  });
}

py::object avg_pool_forward(const py::object& x_, const py::object& kernel, const py::object& stride, const py::object& padding,
                            bool ceil_mode, bool count_include_pad) {
  const Argument x("x", x_);
  return forward("avg_pool_forward", x, *average(x, {kernel, stride, padding, ceil_mode, count_include_pad}));
}

py::object avg_pool_gradient(const py::object& x_, const py::object& G, const py::object& kernel, const py::object& stride,
                             const py::object& padding, bool ceil_mode, bool count_include_pad) {
  const Argument x("x", x_);
  return gradient("avg_pool_gradient", x, *average(x, {kernel, stride, padding, ceil_mode, count_include_pad}), G);
}

py::object avg_pool_tangent(const py::object& x, const py::object& dx_, const py::object& kernel, const py::object& stride,
                            const py::object& padding, bool ceil_mode, bool count_include_pad) {
  const Argument dx = change(x, dx_);
  return forward("avg_pool_tangent", dx, *average(dx, {kernel, stride, padding, ceil_mode, count_include_pad}));
}

py::object avg_pool_relevance(const py::object& x_, const py::object& R, const py::object& rule, const py::object& kernel,
                              const py::object& stride, const py::object& padding, bool ceil_mode, bool count_include_pad,
                              const py::object& z, const py::object& account) {
  const Argument x("x", x_);
  return relevance("avg_pool_relevance", x, *average(x, {kernel, stride, padding, ceil_mode, count_include_pad}), R, rule, z, account);
}

py::object adaptive_avg_pool_forward(const py::object& x_, const py::object& output_size) {
  const Argument x("x", x_);
  return forward("adaptive_avg_pool_forward", x, *adaptive(x, output_size));
}

py::object adaptive_avg_pool_gradient(const py::object& x_, const py::object& G, const py::object& output_size) {
  const Argument x("x", x_);
  return gradient("adaptive_avg_pool_gradient", x, *adaptive(x, output_size), G);
}

py::object adaptive_avg_pool_tangent(const py::object& x, const py::object& dx_, const py::object& output_size) {
  const Argument dx = change(x, dx_);
  return forward("adaptive_avg_pool_tangent", dx, *adaptive(dx, output_size));
}

py::object adaptive_avg_pool_relevance(const py::object& x_, const py::object& R, const py::object& rule,
                                       const py::object& output_size, const py::object& z, const py::object& account) {
  const Argument x("x", x_);
  return relevance("adaptive_avg_pool_relevance", x, *adaptive(x, output_size), R, rule, z, account);
}

}  // namespace

void bind_cuda_reduce(py::module_& module) {
  def(module, "sum_forward", &axes_forward<false>);
  def(module, "sum_gradient", &axes_gradient<false>);
  def(module, "sum_tangent", &axes_tangent<false>);
  def(module, "sum_relevance", &axes_relevance<false>);
  def(module, "mean_forward", &axes_forward<true>);
  def(module, "mean_gradient", &axes_gradient<true>);
  def(module, "mean_tangent", &axes_tangent<true>);
  def(module, "mean_relevance", &axes_relevance<true>);
  def(module, "avg_pool_forward", &avg_pool_forward);
  def(module, "avg_pool_gradient", &avg_pool_gradient);
  def(module, "avg_pool_tangent", &avg_pool_tangent);
  def(module, "avg_pool_relevance", &avg_pool_relevance);
  def(module, "adaptive_avg_pool_forward", &adaptive_avg_pool_forward);
  def(module, "adaptive_avg_pool_gradient", &adaptive_avg_pool_gradient);
  def(module, "adaptive_avg_pool_tangent", &adaptive_avg_pool_tangent);
  def(module, "adaptive_avg_pool_relevance", &adaptive_avg_pool_relevance);
}
