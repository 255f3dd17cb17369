// Products and quotients of two inputs, of pyref/layers/merge.py.
#include "broadcast.h"
#include "relprop/merge.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// New arrays of the shapes `to`, filled by f(elements, pointers to `arrays` spread to a shape, pointers to the new ones).
using Shape = std::vector<Index>;
template <class F>
std::vector<py::array> filled_spread(std::vector<py::array> arrays, const Shape& shape, const std::vector<Shape>& to, F&& f) {
  for (auto& a : arrays) a = spread(a, shape);
  return filled(arrays, to, [&](auto in, auto out) { f(elements(shape), in, out); });
}

py::tuple gathered_two(const std::vector<py::array>& parts, const std::vector<py::array>& x) {
  return py::make_tuple(gathered(parts[0], shape_of(x[0])), gathered(parts[1], shape_of(x[1])));
}

// The function of x that a kernel of (elements, x_0, x_1, y) is.
template <class Kernel>
auto forward_by(Kernel kernel) {
  return [kernel](const py::object& x_) -> py::object {
    const auto x = two<InHostMemory>("x", x_);
    const auto shape = joint_shape(x);
    return filled_spread(x, shape, {shape}, [&](Index n, auto in, auto out) { kernel(n, in[0], in[1], out[0]); })[0];
  };
}

// The function of x and G that a kernel of (elements, x_0, x_1, G, G_0, G_1) is.
template <class Kernel>
auto gradient_by(Kernel kernel) {
  return [kernel](const py::object& x_, const py::object& G_) -> py::object {
    const auto x = two<InHostMemory>("x", x_);
    const auto G = floats("G", G_);
    const auto shape = joint_shape(x);
    check_shape("G", G, shape);
    const auto fill = [&](Index n, auto in, auto out) { kernel(n, in[0], in[1], in[2], out[0], out[1]); };
    return gathered_two(filled_spread({x[0], x[1], G}, shape, {shape, shape}, fill), x);
  };
}

// The function of x and dx that a kernel of (elements, x_0, x_1, dx_0, dx_1, dy) is.
template <class Kernel>
auto tangent_by(Kernel kernel) {
  return [kernel](const py::object& x_, const py::object& dx_) -> py::object {
    const auto x = two<InHostMemory>("x", x_), dx = two<InHostMemory>("dx", dx_);
    const std::vector<py::array> all{x[0], x[1], dx[0], dx[1]};
    const auto fill = [&](Index n, auto in, auto out) { kernel(n, in[0], in[1], in[2], in[3], out[0]); };
    const auto shape = joint_shape(all);
    return filled_spread(all, shape, {shape}, fill)[0];
  };
}

// x[signal] is the signal, the other one the gate.
py::object product_relevance(const std::vector<py::array>& x, const py::object& R_, const py::object& gate_, int signal,
                             const py::object& account) {
  const auto R = floats("R", R_);
  const auto shape = joint_shape(x);
  check_shape("R", R, shape);
  const auto gate = choice<math::Gate>("gate", gate_);
  const bool drops = !account.is_none() && (gate == math::Gate::prop || gate == math::Gate::abs);
  const std::size_t at = signal == 0 ? 0 : 1;
  const cpu::SumSize size{shape.empty() ? 1 : shape[0], elements(shape, 1)};
  const auto fill = [&](Index, auto in, auto out) {
    cpu::multiply_relevance(size, in[0], in[1], in[2], gate, drops ? out[2] : nullptr, out[0], out[1]);
  };
  const auto parts = filled_spread({x[1 - at], x[at], R}, shape, {shape, shape, {drops ? size.samples : 0}}, fill);
  if (drops) account.attr("add_kept")(py::module_::import("numpy").attr("zeros_like")(parts[2]), parts[2]);
  return gathered_two({parts[1 - at], parts[at]}, x);
}

py::tuple product_multiplier(const std::vector<py::array>& x, const std::vector<py::array>& x0, const py::object& M_,
                             const py::object& product_) {
  const auto product = choice<math::Product>("product", product_);
  const auto M = floats("M", M_);
  const std::vector<py::array> all{x[0], x[1], x0[0], x0[1], M};
  const auto fill = [&](Index n, auto in, auto out) {
    cpu::multiply_multiplier(n, in[0], in[1], in[2], in[3], in[4], product, out[0], out[1]);
  };
  const auto shape = shape_by(py::module_::import("numpy").attr("broadcast_shapes"), all);  // one baseline for all samples
  return gathered_two(filled_spread(all, shape, {shape, shape}, fill), x);
}

py::object multiply_relevance(const py::object& x, const py::object& R, const py::object& gate, int signal,
                              const py::object& account) {
  return product_relevance(two<InHostMemory>("x", x), R, gate, signal, account);
}

py::object multiply_multiplier(const py::object& x, const py::object& x0, const py::object& M, const py::object& product) {
  return product_multiplier(two<InHostMemory>("x", x), two<InHostMemory>("x0", x0), M, product);
}

// (x_0, 1 / x_1)
std::vector<py::array> as_product(const std::vector<py::array>& x) {
  const auto shape = shape_of(x[1]);
  const auto one = py::cast<py::array>(py::module_::import("numpy").attr("ones")(1, x[1].dtype()));
  const auto fill = [](Index n, auto in, auto out) { cpu::divide_forward(n, in[0], in[1], out[0]); };
  return {x[0], filled_spread({one, x[1]}, shape, {shape}, fill)[0]};
}

py::object divide_relevance(const py::object& x, const py::object& R, const py::object& gate, int signal,
                            const py::object& account) {
  return product_relevance(as_product(two<InHostMemory>("x", x)), R, gate, signal, account);
}

py::object divide_multiplier(const py::object& x_, const py::object& x0_, const py::object& M, const py::object& product) {
  const auto x = two<InHostMemory>("x", x_), x0 = two<InHostMemory>("x0", x0_);
  const auto parts = product_multiplier(as_product(x), as_product(x0), M, product);
  const auto of_reciprocal = floats("M", parts[1]);
  const auto shape = shape_of(of_reciprocal);
  const auto fill = [](Index n, auto in, auto out) { cpu::divide_multiplier(n, in[0], in[1], in[2], out[0]); };
  return py::make_tuple(parts[0], filled_spread({of_reciprocal, x[1], x0[1]}, shape, {shape}, fill)[0]);
}

// The kernels, whichever the dtype.
#define RELPROP_KERNEL(name) [](auto... of) { cpu::name(of...); }

}  // namespace

void bind_product(py::module_& cpu) {
  def(cpu, "multiply_forward", forward_by(RELPROP_KERNEL(multiply_forward)));
  def(cpu, "multiply_gradient", gradient_by(RELPROP_KERNEL(multiply_gradient)));
  def(cpu, "multiply_tangent", tangent_by(RELPROP_KERNEL(multiply_tangent)));
  def(cpu, "multiply_relevance", &multiply_relevance);
  def(cpu, "multiply_multiplier", &multiply_multiplier);
  def(cpu, "divide_forward", forward_by(RELPROP_KERNEL(divide_forward)));
  def(cpu, "divide_gradient", gradient_by(RELPROP_KERNEL(divide_gradient)));
  def(cpu, "divide_tangent", tangent_by(RELPROP_KERNEL(divide_tangent)));
  def(cpu, "divide_relevance", &divide_relevance);
  def(cpu, "divide_multiplier", &divide_multiplier);
}
