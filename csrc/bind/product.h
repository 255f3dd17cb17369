// Products and quotients of two inputs, of pyref/layers/merge.py, at the door of any device.
#pragma once

#include "broadcast.h"
#include "relprop/merge.h"

namespace relprop::bind {

// A Door has the kernels of relprop/merge.h and reciprocal(operation, q), and takes arrays and computes with them as door.h
// says. A quotient is a product of x_0 and 1 / x_1.
template <class Door>
struct Products {
  using Array = typename Door::Array;
  using Arrays = std::vector<const Array*>;
  using Shape = std::vector<Index>;
  using Given = const py::object&;

  static std::vector<Shape> shapes_of(const Arrays& all) {
    std::vector<Shape> shapes;
    for (const Array* x : all) shapes.push_back(shape_of(*x));
    return shapes;
  }

  // New arrays of a shape, and others, that f(on, elements of the shape, arrays spread to it, new ones) fills.
  template <class F>
  static std::vector<py::object> filled(const char* operation, const Arrays& arrays, const Shape& shape, const std::vector<Shape>& to,
                                        const F& f) {
    std::vector<Array> spread;
    Arrays pointers;
    for (const Array* x : arrays) spread.push_back(Door::spread(*x, shape));
    for (const Array& x : spread) pointers.push_back(&x);
    return Door::filled(operation, pointers, to, [f, n = elements(shape)](const auto& on, auto in, auto out) { f(on, n, in, out); });
  }

  static py::tuple gathered(const char* operation, const py::object& first, const py::object& second, const std::vector<Array>& x) {
    return py::make_tuple(Door::gathered(operation, first, shape_of(x[0])), Door::gathered(operation, second, shape_of(x[1])));
  }

  // The function of x that a kernel of (x_0, x_1, y) is.
  template <class Kernel>
  static void def_forward(py::module_& module, const char* name, Kernel kernel) {
    def(module, name, [name, kernel](Given x_) -> py::object {
      const auto x = two<Door>("x", x_);
      const auto shape = joint_shape(x);
      const auto fill = [kernel](const auto& on, Index n, auto in, auto out) { kernel(on, n, in[0], in[1], out[0]); };
      return filled(name, {&x[0], &x[1]}, shape, {shape}, fill)[0];
    });
  }

  // The function of x and G that a kernel of (x_0, x_1, G, G_0, G_1) is.
  template <class Kernel>
  static void def_gradient(py::module_& module, const char* name, Kernel kernel) {
    def(module, name, [name, kernel](Given x_, Given G_) -> py::object {
      const auto x = two<Door>("x", x_);
      const auto shape = joint_shape(x);
      const Array G = Door::array("G", G_, shape);
      const auto fill = [kernel](const auto& on, Index n, auto in, auto out) { kernel(on, n, in[0], in[1], in[2], out[0], out[1]); };
      const auto parts = filled(name, {&x[0], &x[1], &G}, shape, {shape, shape}, fill);
      return gathered(name, parts[0], parts[1], x);
    });
  }

  // The function of x and dx that a kernel of (x_0, x_1, dx_0, dx_1, dy) is.
  template <class Kernel>
  static void def_tangent(py::module_& module, const char* name, Kernel kernel) {
    def(module, name, [name, kernel](Given x_, Given dx_) -> py::object {
      const auto x = two<Door>("x", x_), dx = two<Door>("dx", dx_);
      const Arrays all{&x[0], &x[1], &dx[0], &dx[1]};
      const auto shape = joint_shape(shapes_of(all));
      const auto fill = [kernel](const auto& on, Index n, auto in, auto out) { kernel(on, n, in[0], in[1], in[2], in[3], out[0]); };
      return filled(name, all, shape, {shape}, fill)[0];
    });
  }

  // x[signal] is the signal, the other one the gate.
  template <bool divides>
  static py::object relevance(Given x_, Given R_, Given gate_, int signal, Given account) {
    const char* operation = divides ? "divide_relevance" : "multiply_relevance";
    auto x = two<Door>("x", x_);
    const auto shape = joint_shape(x);
    const Array R = Door::array("R", R_, shape);
    const auto gate = choice<math::Gate>("gate", gate_);
    const bool drops = !account.is_none() && (gate == math::Gate::prop || gate == math::Gate::abs);
    const std::size_t at = signal == 0 ? 0 : 1;
    const Index samples = shape.empty() ? 1 : shape[0], size = elements(shape, 1), noted = drops ? samples : 0;
    if (divides) x[1] = Door::array("x", Door::reciprocal(operation, x[1]));
    const auto fill = [=](const auto& on, Index, auto in, auto out) {
      Door::multiply_relevance(on, samples, size, in[0], in[1], in[2], gate, drops ? out[2] : nullptr, out[0], out[1]);
      on.clear(out[3], noted);
    };
    const auto parts = filled(operation, {&x[1 - at], &x[at], &R}, shape, {shape, shape, {noted}, {noted}}, fill);
    if (drops) account.attr("add_kept")(parts[3], parts[2]);
    return gathered(operation, parts[1 - at], parts[at], x);
  }

  template <bool divides>
  static py::object multiplier(Given x_, Given x0_, Given M_, Given product_) {
    const char* operation = divides ? "divide_multiplier" : "multiply_multiplier";
    const auto x = two<Door>("x", x_), x0 = two<Door>("x0", x0_);
    const auto product = choice<math::Product>("product", product_);
    const Array M = Door::array("M", M_);
    const auto shape =  // one baseline for all samples
        shape_by(py::module_::import("numpy").attr("broadcast_shapes"), shapes_of({&x[0], &x[1], &x0[0], &x0[1], &M}));
    const auto second = [&](const Array& q) { return divides ? Door::array("x", Door::reciprocal(operation, q)) : q; };
    const Array q = second(x[1]), q0 = second(x0[1]);
    const auto fill = [product](const auto& on, Index n, auto in, auto out) {
      Door::multiply_multiplier(on, n, in[0], in[1], in[2], in[3], in[4], product, out[0], out[1]);
    };
    const auto parts = filled(operation, {&x[0], &q, &x0[0], &q0, &M}, shape, {shape, shape}, fill);
    const auto both = gathered(operation, parts[0], parts[1], x);
    if (!divides) return both;
    const auto chain = [](const auto& on, Index n, auto in, auto out) { Door::divide_multiplier(on, n, in[0], in[1], in[2], out[0]); };
    const Array M_q = Door::array("M", both[1]);
    return py::make_tuple(both[0], filled(operation, {&M_q, &x[1], &x0[1]}, shape_of(x[1]), {shape_of(x[1])}, chain)[0]);
  }
};

template <class Door>
void def_product(py::module_& module) {
  using Of = Products<Door>;
  Of::def_forward(module, "multiply_forward", Door::multiply_forward);
  Of::def_gradient(module, "multiply_gradient", Door::multiply_gradient);
  Of::def_tangent(module, "multiply_tangent", Door::multiply_tangent);
  def(module, "multiply_relevance", &Of::template relevance<false>);
  def(module, "multiply_multiplier", &Of::template multiplier<false>);
  Of::def_forward(module, "divide_forward", Door::divide_forward);
  Of::def_gradient(module, "divide_gradient", Door::divide_gradient);
  Of::def_tangent(module, "divide_tangent", Door::divide_tangent);
  def(module, "divide_relevance", &Of::template relevance<true>);
  def(module, "divide_multiplier", &Of::template multiplier<true>);
}

}  // namespace relprop::bind
