// Weighted sums over boxes: sums and means over axes, of pyref/layers/reduce.py, and the averages of pyref/layers/pool.py.
#include "relprop/reduce.h"

#include "geometry.h"
#include "math/pool.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// Where a sum over boxes takes the numbers of a sample from.
struct Boxes {
  std::size_t before = 1;  // axes of x that are not summed over: the samples, and for pooling the channels
  std::vector<Index> lengths, counts, shape;  // shape: of the result after the axes before
  std::vector<std::vector<Index>> start, stop;
  std::vector<double> weights;
};
using AnyBoxes = std::shared_ptr<const Boxes>;

// Weights 1 / n from the numbers n that each axis counts.
std::vector<double> average_weights(const std::vector<std::vector<Index>>& sizes) {
  std::vector<double> n{1};
  for (const auto& axis : sizes) {
    std::vector<double> longer;
    for (const double so_far : n)
      for (const Index size : axis) longer.push_back(so_far * static_cast<double>(size));
    n = std::move(longer);
  }
  for (double& each : n) each = math::average_weight(each);
  return n;
}

AnyBoxes pooling(const char* of_pyref, const py::array& x, const py::tuple& settings) {
  return remembered<Boxes>(py::make_tuple(of_pyref, x.attr("shape"), settings), [&] {
    const py::tuple found = py::module_::import("pyref.layers.pool").attr(of_pyref)(x, *settings);
    Boxes made;
    made.before = 2;
    std::vector<std::vector<Index>> sizes;
    for (py::handle axis : found[0]) {
      made.lengths.push_back(x.shape(static_cast<int>(made.lengths.size()) + 2));
      auto &start = made.start.emplace_back(), &stop = made.stop.emplace_back();
      for (py::handle span : axis) {
        const auto interval = py::reinterpret_borrow<py::tuple>(span);
        start.push_back(py::cast<Index>(interval[0]));
        stop.push_back(py::cast<Index>(interval[1]));
      }
      made.counts.push_back(static_cast<Index>(start.size()));
    }
    for (py::handle axis : found[1]) sizes.push_back(numbers(py::reinterpret_borrow<py::object>(axis)));
    made.shape = made.counts;
    made.weights = average_weights(sizes);
    return made;
  });
}

AnyBoxes reduction(const py::array& x, const py::object& axes, bool keepdims, bool is_mean) {
  return remembered<Boxes>(py::make_tuple(x.attr("shape"), axes, int{keepdims}, int{is_mean}), [&] {
    const auto of_pyref = py::module_::import("pyref.layers.reduce");
    const auto summed = numbers(of_pyref.attr("sample_axes")(x, axes));
    const auto shape = numbers(of_pyref.attr("reduced_shape")(x, axes, keepdims));
    Boxes made;
    made.shape.assign(shape.begin() + 1, shape.end());
    Index n = 1, boxes = 1;
    for (int a = 1; a < x.ndim(); ++a) {
      const bool is_summed = std::count(summed.begin(), summed.end(), a) > 0;
      made.lengths.push_back(x.shape(a));
      made.counts.push_back(is_summed ? 1 : x.shape(a));
      made.start.push_back(is_summed ? std::vector<Index>{0} : std::vector<Index>{});
      made.stop.push_back(is_summed ? std::vector<Index>{x.shape(a)} : std::vector<Index>{});
      (is_summed ? n : boxes) *= x.shape(a);
    }
    made.weights.assign(static_cast<std::size_t>(boxes), is_mean ? math::average_weight(static_cast<double>(n)) : 1);
    return made;
  });
}

std::vector<Index> shape_after(const py::array& x, const Boxes& boxes) {
  std::vector<Index> shape(x.shape(), x.shape() + boxes.before);
  shape.insert(shape.end(), boxes.shape.begin(), boxes.shape.end());
  return shape;
}

// The boxes for the kernels, with x's samples and channels.
struct Size {
  std::vector<cpu::BoxAxis> axes;
  cpu::BoxSize size;

  Size(const py::array& x, const Boxes& boxes) {
    for (std::size_t a = 0; a < boxes.lengths.size(); ++a) {
      const bool is_one_place = boxes.start[a].empty();
      axes.push_back({boxes.lengths[a], boxes.counts[a], is_one_place ? nullptr : boxes.start[a].data(),
                      is_one_place ? nullptr : boxes.stop[a].data()});
    }
    size = {x.shape(0), boxes.before == 2 ? x.shape(1) : 1, static_cast<int>(axes.size()), axes.data()};
  }
  Size(const Size&) = delete;
};

template <class T>
std::vector<T> weights_of(const Boxes& boxes) {
  return {boxes.weights.begin(), boxes.weights.end()};
}

py::object forward(const py::array& x, const Boxes& boxes) {
  const Size size(x, boxes);
  return filled({x}, {shape_after(x, boxes)}, [&](auto in, auto out) {
    using T = std::remove_pointer_t<std::decay_t<decltype(out[0])>>;
    cpu::reduce_forward(size.size, in[0], weights_of<T>(boxes).data(), out[0]);
  })[0];
}

py::object gradient(const py::array& x, const Boxes& boxes, const py::object& G_) {
  const auto G = floats("G", G_);
  check_shape("G", G, shape_after(x, boxes));
  const Size size(x, boxes);
  return filled({G}, {shape_of(x)}, [&](auto in, auto out) {
    using T = std::remove_pointer_t<std::decay_t<decltype(out[0])>>;
    cpu::reduce_gradient(size.size, weights_of<T>(boxes).data(), in[0], out[0]);
  })[0];
}

py::object relevance(const py::array& x, const Boxes& boxes, const py::object& R_, const py::object& rule, const py::object& z_,
                     const py::object& account) {
  const auto R = floats("R", R_);
  const auto z = floats_or_none("z", z_);
  check_shape("R", R, shape_after(x, boxes));
  if (z) check_shape("z", *z, shape_of(R));
  const Size size(x, boxes);
  return with_widest({x, R, z.value_or(x)}, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Packed<T> x_data(x), R_data(R);
    const auto z_data = packed<T>(z);
    const auto rule_data = rule_for<T>(rule, x_data);
    if (std::holds_alternative<math::Pass<T>>(rule_data.rule)) return pass(x, R_data);
    const AccountFor<T> kept(account, R, false);
    const auto weights = weights_of<T>(boxes);
    auto r = empty<T>(shape_of(x));
    T* out = r.mutable_data();
    {
      py::gil_scoped_release release;
      cpu::reduce_relevance(size.size, x_data.data(), weights.data(), R_data.data(), rule_data.rule, rule_data.bounds,
                            pointer(z_data), kept.pointer(), out);
    }
    kept.write();
    return r;
  });
}

// dx, of x's shape
py::array change(const py::object& x, const py::object& dx_) {
  const auto dx = floats("dx", dx_);
  check_shape("dx", dx, shape_of(floats("x", x)));
  return dx;
}

// ---- sums and means over axes ----

template <bool is_mean>
py::object axes_forward(const py::object& x_, const py::object& axes, bool keepdims) {
  const auto x = floats("x", x_);
  return forward(x, *reduction(x, axes, keepdims, is_mean));
}

template <bool is_mean>
py::object axes_gradient(const py::object& x_, const py::object& axes, const py::object& G, bool keepdims) {
  const auto x = floats("x", x_);
  return gradient(x, *reduction(x, axes, keepdims, is_mean), G);
}

template <bool is_mean>
py::object axes_tangent(const py::object& x, const py::object& axes, const py::object& dx, bool keepdims) {
  return axes_forward<is_mean>(change(x, dx), axes, keepdims);
}

template <bool is_mean>
py::object axes_relevance(const py::object& x_, const py::object& axes, const py::object& R, const py::object& rule,
                          const py::object& z, bool keepdims, const py::object& account) {
  const auto x = floats("x", x_);
  return relevance(x, *reduction(x, axes, keepdims, is_mean), R, rule, z, account);
}

// ---- averages of windows ----

AnyBoxes average_of(const py::array& x, const py::object& kernel, const py::object& stride, const py::object& padding,
                    bool ceil_mode, bool count_include_pad) {
  return pooling("avg_pool_boxes", x, py::make_tuple(kernel, stride, padding, int{ceil_mode}, int{count_include_pad}));
}

py::object avg_pool_forward(const py::object& x_, const py::object& kernel, const py::object& stride, const py::object& padding,
                            bool ceil_mode, bool count_include_pad) {
  const auto x = floats("x", x_);
  return forward(x, *average_of(x, kernel, stride, padding, ceil_mode, count_include_pad));
}

py::object avg_pool_gradient(const py::object& x_, const py::object& G, const py::object& kernel, const py::object& stride,
                             const py::object& padding, bool ceil_mode, bool count_include_pad) {
  const auto x = floats("x", x_);
  return gradient(x, *average_of(x, kernel, stride, padding, ceil_mode, count_include_pad), G);
}

py::object avg_pool_tangent(const py::object& x, const py::object& dx, const py::object& kernel, const py::object& stride,
                            const py::object& padding, bool ceil_mode, bool count_include_pad) {
  return avg_pool_forward(change(x, dx), kernel, stride, padding, ceil_mode, count_include_pad);
}

py::object avg_pool_relevance(const py::object& x_, const py::object& R, const py::object& rule, const py::object& kernel,
                              const py::object& stride, const py::object& padding, bool ceil_mode,
                              bool count_include_pad, const py::object& z, const py::object& account) {
  const auto x = floats("x", x_);
  return relevance(x, *average_of(x, kernel, stride, padding, ceil_mode, count_include_pad), R, rule, z, account);
}

AnyBoxes adaptive_of(const py::array& x, const py::object& output_size) {
  return pooling("adaptive_avg_pool_boxes", x, py::make_tuple(output_size));
}

py::object adaptive_avg_pool_forward(const py::object& x_, const py::object& output_size) {
  const auto x = floats("x", x_);
  return forward(x, *adaptive_of(x, output_size));
}

py::object adaptive_avg_pool_gradient(const py::object& x_, const py::object& G, const py::object& output_size) {
  const auto x = floats("x", x_);
  return gradient(x, *adaptive_of(x, output_size), G);
}

py::object adaptive_avg_pool_tangent(const py::object& x, const py::object& dx, const py::object& output_size) {
  return adaptive_avg_pool_forward(change(x, dx), output_size);
}

py::object adaptive_avg_pool_relevance(const py::object& x_, const py::object& R, const py::object& rule,
                                       const py::object& output_size, const py::object& z, const py::object& account) {
  const auto x = floats("x", x_);
  return relevance(x, *adaptive_of(x, output_size), R, rule, z, account);
}

}  // namespace

void bind_reduce(py::module_& cpu) {
  def(cpu, "sum_forward", &axes_forward<false>);
  def(cpu, "sum_gradient", &axes_gradient<false>);
  def(cpu, "sum_tangent", &axes_tangent<false>);
  def(cpu, "sum_relevance", &axes_relevance<false>);
  def(cpu, "mean_forward", &axes_forward<true>);
  def(cpu, "mean_gradient", &axes_gradient<true>);
  def(cpu, "mean_tangent", &axes_tangent<true>);
  def(cpu, "mean_relevance", &axes_relevance<true>);
  def(cpu, "avg_pool_forward", &avg_pool_forward);
  def(cpu, "avg_pool_gradient", &avg_pool_gradient);
  def(cpu, "avg_pool_tangent", &avg_pool_tangent);
  def(cpu, "avg_pool_relevance", &avg_pool_relevance);
  def(cpu, "adaptive_avg_pool_forward", &adaptive_avg_pool_forward);
  def(cpu, "adaptive_avg_pool_gradient", &adaptive_avg_pool_gradient);
  def(cpu, "adaptive_avg_pool_tangent", &adaptive_avg_pool_tangent);
  def(cpu, "adaptive_avg_pool_relevance", &adaptive_avg_pool_relevance);
}
