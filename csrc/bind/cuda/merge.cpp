// Sums of several inputs, and sums and products with constants, of pyref/layers/merge.py.
#include "cuda/merge.h"

#include <pybind11/stl.h>

#include "door.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

py::object of_merge(const char* name) { return py::module_::import("pyref.layers.merge").attr(name); }

// A number, or an array over one sample: its first axis has length 1.
struct Constant {
  double number;
  Argument array{"constant", py::none(), true};
};

// Σ_k w_k x_k + b in a shape that all of them are spread to.
struct Inputs {
  std::vector<Argument> x;
  std::vector<Constant> weights;
  std::optional<Constant> b;
  std::vector<Index> shape;

  std::vector<const Argument*> arguments(std::initializer_list<const Argument*> others = {}) const {
    std::vector<const Argument*> all;
    for (const auto& v : x) all.push_back(&v);
    for (const auto& w : weights) all.push_back(&w.array);
    if (b) all.push_back(&b->array);
    all.insert(all.end(), others);
    return all;
  }
};

template <class T>
cuda::Runs<T> runs_for(Call& call, const Constant& constant, std::vector<Index> sample) {
  if (!constant.array) return {nullptr, 1, static_cast<T>(constant.number)};
  sample[0] = 1;
  return {call.in<T>(constant.array, sample), 1, T(0)};
}

template <class T>
cuda::Sum<T> sum_for(Call& call, const Inputs& inputs) {
  check_sample("z", inputs.shape);
  cuda::Sum<T> sum{};
  if (inputs.x.size() > cuda::Sum<T>::most)
    throw py::value_error(std::string(call.operation()) + " has " + std::to_string(inputs.x.size()) + " inputs, expected at most " +
                          std::to_string(cuda::Sum<T>::most) + " on CUDA");
  sum.samples = inputs.shape.empty() ? 1 : inputs.shape[0];
  sum.size = 1;
  for (std::size_t d = 1; d < inputs.shape.size(); ++d) sum.size *= static_cast<int>(inputs.shape[d]);
  sum.count = static_cast<int>(inputs.x.size());
  for (std::size_t k = 0; k < inputs.x.size(); ++k)
    sum.terms[k] = {call.in<T>(inputs.x[k], inputs.shape), runs_for<T>(call, inputs.weights[k], inputs.shape)};
  sum.has_b = inputs.b.has_value();
  if (inputs.b) sum.b = runs_for<T>(call, *inputs.b, inputs.shape);
  return sum;
}

py::object forward(const char* operation, const Inputs& inputs) {
  Call call(operation, inputs.arguments());
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const auto sum = sum_for<T>(call, inputs);
    const auto z = call.out<T>(inputs.shape);
    call.run([&] { cuda::merge_forward(call.operation(), call.stream(), sum, z.data()); });
    return call.give(z);
  });
}

py::tuple relevance(const char* operation, const Inputs& inputs, const py::object& R_, const py::object& rule, const py::object& z_,
                    const py::object& account) {
  const Argument R("R", R_), z = or_none("z", z_);
  check_shape(R, inputs.shape);
  if (z) check_shape(z, inputs.shape);
  Call call(operation, inputs.arguments({&R, &z}));
  return call.with_widest([&](auto zero) -> py::object {
    using T = decltype(zero);
    auto sum = sum_for<T>(call, inputs);
    std::vector<DeviceRule<T>> rules;
    for (int k = 0; k < sum.count; ++k)
      rules.push_back(device_rule<T>(call, rule, inputs.x[static_cast<std::size_t>(k)], sum.terms[k].x, inputs.shape));
    if (std::holds_alternative<math::Pass<T>>(rules.at(0).rule)) {
      if (sum.count == 1) return py::make_tuple(pass(inputs.x[0], R));
      throw py::value_error("rule Pass needs one input of the output's shape; give this node another rule");
    }
    const T* R_data = call.in<T>(R);
    const DeviceAccount<T> kept(call, account, R, sum.has_b);
    std::vector<Output<T>> r;
    for (int k = 0; k < sum.count; ++k) sum.terms[k].r = r.emplace_back(call.out<T>(inputs.shape)).data();
    call.run([&] {
      cuda::merge_relevance(call.operation(), call.stream(), sum, R_data, rules[0].rule, rules[0].bounds, kept.pointer());
    });
    kept.write();
    py::tuple parts(r.size());
    for (std::size_t k = 0; k < r.size(); ++k) parts[k] = call.give(call.gathered(r[k], inputs.x[k].shape()));
    return parts;
  });
}

// A signal summed to the shape of what was spread to the signal's.
py::object gathered(const char* operation, const py::object& signal, const std::vector<Index>& shape) {
  const Argument u("signal", signal);
  if (u.shape() == shape) return signal;
  Call call(operation, {&u});
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const T* data = call.in<T>(u);
    return call.give(call.gathered(data, u.shape(), shape));
  });
}

// ---- of several inputs ----

// Σ_k x_k, or x_0 - x_1
Inputs sum_of(const py::object& x, bool subtracts) {
  Inputs inputs;
  py::list shapes;
  for (py::handle v : x) {
    inputs.x.emplace_back("x", py::reinterpret_borrow<py::object>(v));
    inputs.weights.push_back({static_cast<double>(subtracts && inputs.x.size() == 2 ? -1 : 1)});
    shapes.append(py::tuple(py::cast(inputs.x.back().shape())));
  }
  inputs.shape = py::cast<std::vector<Index>>(of_merge("joint_shape")(*shapes));
  return inputs;
}

template <bool subtracts>
py::object sum_forward(const py::object& x) {
  return forward(subtracts ? "subtract_forward" : "add_forward", sum_of(x, subtracts));
}

template <bool subtracts>
py::object sum_gradient(const py::object& x, const py::object& G_) {
  const char* operation = subtracts ? "subtract_gradient" : "add_gradient";
  const auto inputs = sum_of(x, subtracts);
  const Argument G("G", G_);
  check_shape(G, inputs.shape);
  py::tuple parts(inputs.x.size());
  for (std::size_t k = 0; k < inputs.x.size(); ++k) {
    const py::object one = subtracts && k == 1 ? forward(operation, {{G}, {{-1}}, std::nullopt, inputs.shape}) : G_;
    parts[k] = gathered(operation, one, inputs.x[k].shape());
  }
  return parts;
}

template <bool subtracts>
py::object sum_tangent(const py::object&, const py::object& dx) {
  return sum_forward<subtracts>(dx);
}

template <bool subtracts>
py::object sum_relevance(const py::object& x, const py::object& R, const py::object& rule, const py::object& z,
                         const py::object& account) {
  return relevance(subtracts ? "subtract_relevance" : "add_relevance", sum_of(x, subtracts), R, rule, z, account);
}

// ---- with a constant ----

// x + constant, or constant · x: the constant is given as many axes as x has, and what does not fit is refused.
Inputs with_constant(const Argument& x, const py::object& constant, bool scales) {
  Constant made{1};
  auto shape = x.shape();
  if (py::hasattr(constant, "shape")) {
    const Argument given("constant", constant);
    const auto numpy = py::module_::import("numpy");
    const auto stand_in = [&](const Argument& of) { return numpy.attr("broadcast_to")(numpy.attr("float32")(0), py::tuple(py::cast(of.shape()))); };
    const auto fits = py::cast<py::array>(of_merge("_constant")(stand_in(x), stand_in(given)));  // raises where it does not
    for (std::size_t d = 1; d < shape.size(); ++d)
      if (shape[d] == 1) shape[d] = fits.shape(static_cast<int>(d));
    if (given.ndim() == x.ndim() && given.shape()[0] != 1) {
      auto one = given.shape();
      one[0] = 1;
      check_shape(given, one);
    }
    made.array = given;
  } else {
    read_field("constant", constant, made.number);
  }
  if (scales) return {{x}, {made}, std::nullopt, shape};
  return {{x}, {{1}}, made, shape};
}

template <bool scales>
py::object constant_forward(const py::object& x, const py::object& constant) {
  return forward(scales ? "scale_forward" : "shift_forward", with_constant(Argument("x", x), constant, scales));
}

template <bool scales>
py::object constant_gradient(const py::object& x_, const py::object& constant, const py::object& G_) {
  const char* operation = scales ? "scale_gradient" : "shift_gradient";
  const Argument x("x", x_), G("G", G_);
  auto inputs = with_constant(x, constant, scales);
  check_shape(G, inputs.shape);
  if (!scales) return gathered(operation, G_, x.shape());
  inputs.x = {G};
  return gathered(operation, forward(operation, inputs), x.shape());
}

template <bool scales>
py::object constant_tangent(const py::object& x_, const py::object& constant, const py::object& dx_) {
  const Argument x("x", x_), dx("dx", dx_);
  check_shape(dx, x.shape());
  auto inputs = with_constant(x, constant, scales);
  inputs.x = {dx};
  inputs.b = std::nullopt;
  return forward(scales ? "scale_tangent" : "shift_tangent", inputs);
}

template <bool scales>
py::object constant_relevance(const py::object& x, const py::object& constant, const py::object& R, const py::object& rule,
                              const py::object& z, const py::object& account) {
  const auto inputs = with_constant(Argument("x", x), constant, scales);
  return relevance(scales ? "scale_relevance" : "shift_relevance", inputs, R, rule, z, account)[0];
}

}  // namespace

void bind_cuda_merge(py::module_& module) {
  def(module, "add_forward", &sum_forward<false>);
  def(module, "add_gradient", &sum_gradient<false>);
  def(module, "add_tangent", &sum_tangent<false>);
  def(module, "add_relevance", &sum_relevance<false>);
  def(module, "subtract_forward", &sum_forward<true>);
  def(module, "subtract_gradient", &sum_gradient<true>);
  def(module, "subtract_tangent", &sum_tangent<true>);
  def(module, "subtract_relevance", &sum_relevance<true>);
  def(module, "shift_forward", &constant_forward<false>);
  def(module, "shift_gradient", &constant_gradient<false>);
  def(module, "shift_tangent", &constant_tangent<false>);
  def(module, "shift_relevance", &constant_relevance<false>);
  def(module, "scale_forward", &constant_forward<true>);
  def(module, "scale_gradient", &constant_gradient<true>);
  def(module, "scale_tangent", &constant_tangent<true>);
  def(module, "scale_relevance", &constant_relevance<true>);
}
