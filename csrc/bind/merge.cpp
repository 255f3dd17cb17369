// Sums of several inputs, and sums and products with constants, of pyref/layers/merge.py.
#include "relprop/merge.h"

#include <deque>

#include "broadcast.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// A number, or an array over one sample: its first axis has length 1.
struct Constant {
  double number;
  std::optional<py::array> array = std::nullopt;
};

// Σ_k w_k x_k + b in a shape that all of them are spread to.
struct Sum {
  std::vector<py::array> x;
  std::vector<Constant> weights;
  std::optional<Constant> b;
  std::vector<Index> shape;

  Index samples() const { return shape.empty() ? 1 : shape[0]; }
};

// The same in one dtype, as the kernels take it.
template <class T>
class SumFor {
 public:
  SumFor(const Sum& sum, bool has_relevance) : size_{sum.samples(), elements(sum.shape, 1)} {
    const auto pointer_to = [&](const Constant& constant, Index& run) -> const T* {
      if (!constant.array) {
        run = std::max<Index>(1, size_.size);
        return &numbers_.emplace_back(static_cast<T>(constant.number));
      }
      run = 1;
      auto sample = sum.shape;
      sample[0] = 1;
      return kept_alive_.emplace_back(spread(*constant.array, sample)).data();
    };
    for (std::size_t k = 0; k < sum.x.size(); ++k) {
      cpu::SumTerm<T> term{};
      term.x = x_.emplace_back(spread(sum.x[k], sum.shape)).data();
      term.w = pointer_to(sum.weights[k], term.run);
      if (has_relevance) term.r = r_.emplace_back(empty<T>(sum.shape)).mutable_data();
      terms_.push_back(term);
    }
    if (sum.b) b_ = pointer_to(*sum.b, size_.bias_run);
  }
  SumFor(const SumFor&) = delete;

  const cpu::SumSize& size() const { return size_; }
  const cpu::SumTerm<T>* terms() const { return terms_.data(); }
  int count() const { return static_cast<int>(terms_.size()); }
  const T* b() const { return b_; }
  const std::deque<Packed<T>>& x() const { return x_; }
  const std::deque<Packed<T>>& r() const { return r_; }

 private:
  cpu::SumSize size_;
  std::vector<cpu::SumTerm<T>> terms_;
  const T* b_ = nullptr;
  std::deque<T> numbers_;  // deques: what they hold stays where it is
  std::deque<Packed<T>> kept_alive_, x_, r_;
};

template <class F>
py::object with_dtype_of(const Sum& sum, const std::vector<py::array>& others, F&& f) {
  std::vector<py::array> all(sum.x);
  for (const auto& w : sum.weights)
    if (w.array) all.push_back(*w.array);
  if (sum.b && sum.b->array) all.push_back(*sum.b->array);
  all.insert(all.end(), others.begin(), others.end());
  return with_widest(all, f);
}

py::object forward(const Sum& sum) {
  return with_dtype_of(sum, {}, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const SumFor<T> made(sum, false);
    auto z = empty<T>(sum.shape);
    T* out = z.mutable_data();
    {
      py::gil_scoped_release release;
      cpu::merge_forward(made.size(), made.terms(), made.count(), made.b(), out);
    }
    return z;
  });
}

py::tuple relevance(const Sum& sum, const py::object& R_, const py::object& rule, const py::object& z_, const py::object& account) {
  const auto R = floats("R", R_);
  const auto z = floats_or_none("z", z_);
  check_shape("R", R, sum.shape);
  if (z) check_shape("z", *z, sum.shape);
  return with_dtype_of(sum, {R, z.value_or(R)}, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Packed<T> R_data(R);
    const auto z_data = packed<T>(z);
    const SumFor<T> made(sum, true);
    std::vector<RuleFor<T>> rules;
    for (const auto& x : made.x()) rules.push_back(rule_for<T>(rule, x));
    if (std::holds_alternative<math::Pass<T>>(rules[0].rule)) {
      if (sum.x.size() == 1) return py::make_tuple(pass(sum.x[0], R_data));
      throw py::value_error("rule Pass needs one input of the output's shape; give this node another rule");
    }
    const AccountFor<T> kept(account, R, sum.b.has_value());
    {
      py::gil_scoped_release release;
      cpu::merge_relevance(made.size(), made.terms(), made.count(), made.b(), R_data.data(), rules[0].rule, rules[0].bounds,
                           pointer(z_data), kept.pointer());
    }
    kept.write();
    py::tuple parts(sum.x.size());
    for (std::size_t k = 0; k < sum.x.size(); ++k) parts[k] = gathered(made.r()[k], sum.x[k]);
    return parts;
  });
}

// ---- of several inputs ----

// Σ_k x_k, or x_0 - x_1
Sum sum_of(const py::object& x_, bool subtracts) {
  const auto x = inputs("x", x_);
  Sum sum{x, std::vector<Constant>(x.size(), {1}), std::nullopt, joint_shape(x)};
  if (subtracts) sum.weights.at(1) = {-1};
  return sum;
}

template <bool subtracts>
py::object sum_forward(const py::object& x) {
  return forward(sum_of(x, subtracts));
}

template <bool subtracts>
py::object sum_gradient(const py::object& x, const py::object& G_) {
  const auto sum = sum_of(x, subtracts);
  const auto G = floats("G", G_);
  check_shape("G", G, sum.shape);
  py::tuple parts(sum.x.size());
  for (std::size_t k = 0; k < sum.x.size(); ++k) {
    const py::object one = subtracts && k == 1 ? forward({{G}, {{-1}}, std::nullopt, sum.shape}) : py::object(G);
    parts[k] = gathered(one, sum.x[k]);
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
  return relevance(sum_of(x, subtracts), R, rule, z, account);
}

// ---- with a constant ----

// x + constant, or constant · x: pyref gives the constant as many axes as x has, and refuses what does not fit.
Sum with_constant(const py::array& x, const py::object& constant, bool scales) {
  Constant made{1};
  auto shape = shape_of(x);
  if (py::hasattr(constant, "shape")) {
    made.array = floats("constant", of_merge("_constant")(x, constant));
    for (std::size_t d = 1; d < shape.size(); ++d)
      if (shape[d] == 1) shape[d] = made.array->shape(static_cast<int>(d));
  } else {
    read_field("constant", constant, made.number);
  }
  if (scales) return {{x}, {made}, std::nullopt, shape};
  return {{x}, {{1}}, made, shape};
}

template <bool scales>
py::object constant_forward(const py::object& x, const py::object& constant) {
  return forward(with_constant(floats("x", x), constant, scales));
}

template <bool scales>
py::object constant_gradient(const py::object& x_, const py::object& constant, const py::object& G_) {
  const auto x = floats("x", x_), G = floats("G", G_);
  auto sum = with_constant(x, constant, scales);
  check_shape("G", G, sum.shape);
  if (!scales) return gathered(G, x);
  sum.x = {G};
  return gathered(forward(sum), x);
}

template <bool scales>
py::object constant_tangent(const py::object& x_, const py::object& constant, const py::object& dx_) {
  const auto x = floats("x", x_), dx = floats("dx", dx_);
  check_shape("dx", dx, shape_of(x));
  auto sum = with_constant(x, constant, scales);
  sum.x = {dx};
  sum.b = std::nullopt;
  return forward(sum);
}

template <bool scales>
py::object constant_relevance(const py::object& x, const py::object& constant, const py::object& R, const py::object& rule,
                              const py::object& z, const py::object& account) {
  return relevance(with_constant(floats("x", x), constant, scales), R, rule, z, account)[0];
}

}  // namespace

void bind_merge(py::module_& cpu) {
  def(cpu, "add_forward", &sum_forward<false>);
  def(cpu, "add_gradient", &sum_gradient<false>);
  def(cpu, "add_tangent", &sum_tangent<false>);
  def(cpu, "add_relevance", &sum_relevance<false>);
  def(cpu, "subtract_forward", &sum_forward<true>);
  def(cpu, "subtract_gradient", &sum_gradient<true>);
  def(cpu, "subtract_tangent", &sum_tangent<true>);
  def(cpu, "subtract_relevance", &sum_relevance<true>);
  def(cpu, "shift_forward", &constant_forward<false>);
  def(cpu, "shift_gradient", &constant_gradient<false>);
  def(cpu, "shift_tangent", &constant_tangent<false>);
  def(cpu, "shift_relevance", &constant_relevance<false>);
  def(cpu, "scale_forward", &constant_forward<true>);
  def(cpu, "scale_gradient", &constant_gradient<true>);
  def(cpu, "scale_tangent", &constant_tangent<true>);
  def(cpu, "scale_relevance", &constant_relevance<true>);
}
