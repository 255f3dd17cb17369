// Sums of several inputs, and sums and products with constants, of pyref/layers/merge.py, at the door of any device.
#pragma once

#include "broadcast.h"

namespace relprop::bind {

// A number, or an array over one sample: its first axis has length 1.
template <class Array>
struct Constant {
  double number;
  std::optional<Array> array = std::nullopt;
};

// Σ_k w_k x_k + b in a shape that all of them are spread to.
template <class Array>
struct Sum {
  std::vector<Array> x;
  std::vector<Constant<Array>> weights;
  std::optional<Constant<Array>> b;
  std::vector<Index> shape;

  // All arrays in it, and others.
  std::vector<const Array*> arrays(std::initializer_list<const Array*> others = {}) const {
    std::vector<const Array*> all;
    for (const auto& v : x) all.push_back(&v);
    for (const auto& w : weights)
      if (w.array) all.push_back(&*w.array);
    if (b && b->array) all.push_back(&*b->array);
    all.insert(all.end(), others);
    return all;
  }
};

// A Door takes arrays as door.h says, and computes forward(operation, sum, is_rectified), relevance(operation, sum, R, rule, z,
// account), one for each input.
template <class Door>
struct Merging {
  using Array = typename Door::Array;

  // ---- of several inputs: Σ_k x_k, or x_0 - x_1 ----

  static Sum<Array> sum_of(const py::object& x, bool subtracts) {
    Sum<Array> sum;
    for (py::handle v : x) {
      sum.x.push_back(Door::array("x", py::reinterpret_borrow<py::object>(v)));
      sum.weights.push_back({static_cast<double>(subtracts && sum.x.size() == 2 ? -1 : 1)});
    }
    sum.shape = joint_shape(sum.x);
    return sum;
  }

  template <bool subtracts>
  static py::object sum_forward(const py::object& x) {
    return Door::forward(subtracts ? "subtract_forward" : "add_forward", sum_of(x, subtracts));
  }

  static py::object sum_rectified(const py::object& x) { return Door::forward("add_rectified", sum_of(x, false), true); }

  template <bool subtracts>
  static py::object sum_gradient(const py::object& x, const py::object& G_) {
    const char* operation = subtracts ? "subtract_gradient" : "add_gradient";
    const auto sum = sum_of(x, subtracts);
    const Array G = Door::array("G", G_, sum.shape);
    py::tuple parts(sum.x.size());
    for (std::size_t k = 0; k < sum.x.size(); ++k) {
      const py::object one = subtracts && k == 1 ? Door::forward(operation, {{G}, {{-1}}, std::nullopt, sum.shape}) : G_;
      parts[k] = Door::gathered(operation, one, shape_of(sum.x[k]));
    }
    return parts;
  }

  template <bool subtracts>
  static py::object sum_tangent(const py::object&, const py::object& dx) {
    return Door::forward(subtracts ? "subtract_tangent" : "add_tangent", sum_of(dx, subtracts));
  }

  template <bool subtracts>
  static py::object sum_relevance(const py::object& x, const py::object& R, const py::object& rule, const py::object& z,
                                  const py::object& account) {
    return Door::relevance(subtracts ? "subtract_relevance" : "add_relevance", sum_of(x, subtracts), R, rule, z, account);
  }

  // ---- with a constant: x + constant, or constant · x ----

  // pyref gives the constant as many axes as x has, and refuses what does not fit.
  static Sum<Array> with_constant(const Array& x, const py::object& constant, bool scales) {
    Constant<Array> made{1};
    auto shape = shape_of(x);
    if (py::hasattr(constant, "shape")) {
      const auto numpy = py::module_::import("numpy");
      const bool is_scalar = py::isinstance(constant, numpy.attr("generic"));
      const Array given = Door::array("constant", is_scalar ? numpy.attr("asarray")(constant) : constant);
      const auto fits = py::cast<py::array>(of_merge("_constant")(stand_in(shape), stand_in(shape_of(given))));  // raises
      for (std::size_t d = 1; d < shape.size(); ++d)
        if (shape[d] == 1) shape[d] = fits.shape(static_cast<int>(d));
      made.array = given;
    } else {
      read_field("constant", constant, made.number);
    }
    if (scales) return {{x}, {made}, std::nullopt, shape};
    return {{x}, {{1}}, made, shape};
  }

  template <bool scales>
  static py::object constant_forward(const py::object& x, const py::object& constant) {
    return Door::forward(scales ? "scale_forward" : "shift_forward", with_constant(Door::array("x", x), constant, scales));
  }

  template <bool scales>
  static py::object constant_gradient(const py::object& x_, const py::object& constant, const py::object& G_) {
    const char* operation = scales ? "scale_gradient" : "shift_gradient";
    const Array x = Door::array("x", x_);
    auto sum = with_constant(x, constant, scales);
    const Array G = Door::array("G", G_, sum.shape);
    if (!scales) return Door::gathered(operation, G_, shape_of(x));
    sum.x = {G};
    return Door::gathered(operation, Door::forward(operation, sum), shape_of(x));
  }

  template <bool scales>
  static py::object constant_tangent(const py::object& x_, const py::object& constant, const py::object& dx_) {
    const Array x = Door::array("x", x_), dx = Door::array("dx", dx_, shape_of(x));
    auto sum = with_constant(x, constant, scales);
    sum.x = {dx};
    sum.b = std::nullopt;
    return Door::forward(scales ? "scale_tangent" : "shift_tangent", sum);
  }

  template <bool scales>
  static py::object constant_relevance(const py::object& x, const py::object& constant, const py::object& R, const py::object& rule,
                                       const py::object& z, const py::object& account) {
    const auto sum = with_constant(Door::array("x", x), constant, scales);
    return Door::relevance(scales ? "scale_relevance" : "shift_relevance", sum, R, rule, z, account)[0];
  }
};

template <class Door>
void def_merge(py::module_& module) {
  using Of = Merging<Door>;
  def(module, "add_forward", &Of::template sum_forward<false>);
  def(module, "add_rectified", &Of::sum_rectified);
  def(module, "add_gradient", &Of::template sum_gradient<false>);
  def(module, "add_tangent", &Of::template sum_tangent<false>);
  def(module, "add_relevance", &Of::template sum_relevance<false>);
  def(module, "subtract_forward", &Of::template sum_forward<true>);
  def(module, "subtract_gradient", &Of::template sum_gradient<true>);
  def(module, "subtract_tangent", &Of::template sum_tangent<true>);
  def(module, "subtract_relevance", &Of::template sum_relevance<true>);
  def(module, "shift_forward", &Of::template constant_forward<false>);
  def(module, "shift_gradient", &Of::template constant_gradient<false>);
  def(module, "shift_tangent", &Of::template constant_tangent<false>);
  def(module, "shift_relevance", &Of::template constant_relevance<false>);
  def(module, "scale_forward", &Of::template constant_forward<true>);
  def(module, "scale_gradient", &Of::template constant_gradient<true>);
  def(module, "scale_tangent", &Of::template constant_tangent<true>);
  def(module, "scale_relevance", &Of::template constant_relevance<true>);
}

}  // namespace relprop::bind
