// The maximum of each window, of pyref/layers/pool.py, at the door of any device; averages are in reduce.h.
#pragma once

#include <limits>

#include "math/pool.h"
#include "window.h"

namespace relprop::bind {

// A Door has the kernels and, of windows, the Size that they take: size_of(samples, channels, windows). It takes arrays and
// computes with them as door.h says. What is not compiled is pyref's.
template <class Door>
struct MaxPooling {
  using Array = typename Door::Array;
  using Given = const py::object&;

  // The windows over an image, and the shape of what they make.
  struct Pooled {
    bool is_compiled;
    cpu::Windows windows;
    std::vector<Index> shape;
  };

  static std::shared_ptr<const Pooled> pooled(const std::vector<Index>& shape, Given kernel, Given stride, Given padding,
                                              Given dilation, bool ceil_mode) {
    const auto made = remembered<Pooled>(py::make_tuple(shape_tuple(shape), kernel, stride, padding, dilation, int{ceil_mode}), [&] {
      const py::object given = py::module_::import("pyref.layers.pool")
                                   .attr("max_pool_windows")(stand_in(shape), kernel, stride, padding, dilation, ceil_mode);
      const auto windows = windows_from(given);
      auto after = numbers(given.attr("counts"));
      after.insert(after.begin(), {shape[0], shape[1]});
      if (!windows) return Pooled{false, {}, after};
      return Pooled{places(windows->lengths) <= std::numeric_limits<std::int32_t>::max(), *windows, after};
    });
    Door::check_sample("x", shape);
    Door::check_sample("y", made->shape);
    Door::check_compiled(made->is_compiled, "pooling", shape.size() - 2);
    return made;
  }
  static Index places(const Index* lengths) { return lengths[0] * lengths[1] * lengths[2]; }
  static auto size_of(const Array& x, const Pooled& to) { return Door::size_of(shape_of(x)[0], shape_of(x)[1], to.windows); }

  static py::object forward(Given x_, Given kernel, Given stride, Given padding, Given dilation, bool ceil_mode) {
    const Array x = Door::array("x", x_);
    const auto to = pooled(shape_of(x), kernel, stride, padding, dilation, ceil_mode);
    if (!to->is_compiled) return reference("max_pool_forward", x_, kernel, stride, padding, dilation, ceil_mode);
    const auto fill = [size = size_of(x, *to)](const auto& on, auto in, auto out) {
      Door::max_pool_forward(on, size, in[0], out[0]);
    };
    return Door::filled("max_pool_forward", {&x}, {to->shape}, fill)[0];
  }

  // What goes back of a signal; the account is told of what winners receive beyond it.
  static py::object sent_back(const char* operation, const Array& x, const Pooled& to, const Array& signal, math::Ties ties, Given account) {
    const bool drops = !account.is_none() && ties == math::Ties::all;
    const Index samples = drops ? shape_of(x)[0] : 0;
    const auto fill = [size = size_of(x, to), ties, drops, samples](const auto& on, auto in, auto out) {
      Door::max_pool_gradient(on, size, ties, in[0], in[1], drops ? out[1] : nullptr, out[0]);
      on.clear(out[2], samples);
    };
    const auto parts = Door::filled(operation, {&x, &signal}, {shape_of(x), {samples}, {samples}}, fill);
    if (drops) account.attr("add_kept")(parts[2], parts[1]);
    return parts[0];
  }

  static py::object gradient(Given x_, Given G_, Given kernel, Given stride, Given padding, Given dilation, bool ceil_mode, Given ties) {
    const Array x = Door::array("x", x_);
    const auto to = pooled(shape_of(x), kernel, stride, padding, dilation, ceil_mode);
    const Array G = Door::array("G", G_, to->shape);
    if (!to->is_compiled) return reference("max_pool_gradient", x_, G_, kernel, stride, padding, dilation, ceil_mode, ties);
    return sent_back("max_pool_gradient", x, *to, G, choice<math::Ties>("ties", ties), py::none());
  }

  static py::object tangent(Given x_, Given dx_, Given kernel, Given stride, Given padding, Given dilation, bool ceil_mode, Given ties) {
    const Array x = Door::array("x", x_), dx = Door::array("dx", dx_, shape_of(x));
    const auto to = pooled(shape_of(x), kernel, stride, padding, dilation, ceil_mode);
    if (!to->is_compiled) return reference("max_pool_tangent", x_, dx_, kernel, stride, padding, dilation, ceil_mode, ties);
    const auto fill = [size = size_of(x, *to), of = choice<math::Ties>("ties", ties)](const auto& on, auto in, auto out) {
      Door::max_pool_tangent(on, size, of, in[0], in[1], out[0]);
    };
    return Door::filled("max_pool_tangent", {&x, &dx}, {to->shape}, fill)[0];
  }

  static py::object relevance(Given x_, Given R_, Given kernel, Given stride, Given padding, Given dilation, bool ceil_mode, Given ties,
                              Given account) {
    const Array x = Door::array("x", x_);
    const auto to = pooled(shape_of(x), kernel, stride, padding, dilation, ceil_mode);
    const Array R = Door::array("R", R_, to->shape);
    if (!to->is_compiled) return reference("max_pool_relevance", x_, R_, kernel, stride, padding, dilation, ceil_mode, ties, account);
    return sent_back("max_pool_relevance", x, *to, R, choice<math::Ties>("ties", ties), account);
  }

  static py::object multiplier(Given x_, Given x0_, Given M_, Given kernel, Given stride, Given padding, Given dilation,
                               bool ceil_mode, Given ties, Given max_pool) {
    if (choice<math::MaxPool>("max_pool", max_pool) == math::MaxPool::gradient)
      return gradient(x_, M_, kernel, stride, padding, dilation, ceil_mode, ties);
    const Array x = Door::array("x", x_), x0 = Door::array("x0", x0_);
    const auto to = pooled(shape_of(x), kernel, stride, padding, dilation, ceil_mode);
    auto one_sample = shape_of(x);
    one_sample[0] = 1;
    const bool one_x0 = shape_of(x0) == one_sample;
    check_baseline(shape_of(x), shape_of(x0));
    if (!to->is_compiled)
      return reference("max_pool_multiplier", x_, x0_, M_, kernel, stride, padding, dilation, ceil_mode, ties, max_pool);
    const Array M = Door::array("M", M_, to->shape), from = one_x0 ? x0 : Door::spread(x0, shape_of(x));
    const auto fill = [size = size_of(x, *to), of = choice<math::Ties>("ties", ties), one_x0](const auto& on, auto in, auto out) {
      Door::max_pool_multiplier(on, size, of, in[0], in[1], one_x0, in[2], out[0]);
    };
    return Door::filled("max_pool_multiplier", {&x, &from, &M}, {shape_of(x)}, fill)[0];
  }

  static py::object ray(Given x_, Given dx_, Given kernel, Given stride, Given padding, Given dilation, bool ceil_mode) {
    const Array x = Door::array("x", x_), dx = Door::array("dx", dx_, shape_of(x));
    const auto to = pooled(shape_of(x), kernel, stride, padding, dilation, ceil_mode);
    if (!to->is_compiled) return reference("max_pool_ray", x_, dx_, kernel, stride, padding, dilation, ceil_mode);
    const auto fill = [size = size_of(x, *to)](const auto& on, auto in, auto out) {
      Door::max_pool_ray(on, size, in[0], in[1], out[0], out[1]);
    };
    const auto parts = Door::filled("max_pool_ray", {&x, &dx}, {to->shape, {shape_of(x)[0]}}, fill);
    const bool is_empty = std::count(to->shape.begin(), to->shape.end(), 0) > 0;
    return py::make_tuple(parts[0], is_empty ? py::object(py::none()) : parts[1]);
  }
};

template <class Door>
void def_max_pool(py::module_& module) {
  using Of = MaxPooling<Door>;
  def(module, "max_pool_forward", &Of::forward);
  def(module, "max_pool_gradient", &Of::gradient);
  def(module, "max_pool_tangent", &Of::tangent);
  def(module, "max_pool_relevance", &Of::relevance);
  def(module, "max_pool_multiplier", &Of::multiplier);
  def(module, "max_pool_ray", &Of::ray);
}

}  // namespace relprop::bind
