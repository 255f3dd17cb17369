#include "relprop/dense.h"

#include "door.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// The size that x and w, which fits it, have.
cpu::DenseSize dense_size(const py::array& x, const py::array& w) {
  if (x.ndim() == 0) throw py::index_error("tuple Index out of range");
  const Index inputs = x.shape(x.ndim() - 1);
  check_shape("w", w, {inputs, any});
  const Index samples = x.ndim() == 1 ? 1 : x.shape(0);
  Index positions = 1;
  for (int d = 1; d + 1 < x.ndim(); ++d) positions *= x.shape(d);
  return {samples, positions, inputs, w.shape(1)};
}

// w as it lies in memory: a transposed view is no copy.
template <class T>
struct Weights {
  explicit Weights(const py::array& w)
      : is_transposed(!(w.flags() & py::array::c_style) && (w.flags() & py::array::f_style)),
        array(is_transposed ? Packed<T>(w.attr("T")) : Packed<T>(w)) {}
  cpu::DenseWeights<T> view() const { return {array.data(), is_transposed}; }
  bool is_transposed;
  Packed<T> array;
};

py::object dense_forward(const py::object& x_, const py::object& w_, const py::object& b_) {
  const auto x = floats("x", x_), w = floats("w", w_);
  const auto b = floats_or_none("b", b_);
  const auto size = dense_size(x, w);
  if (b) check_shape("b", *b, {size.outputs});
  return with_widest({x, w, b.value_or(x)}, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Packed<T> x_data(x);
    const Weights<T> w_data(w);
    const auto b_data = packed<T>(b);
    auto z = empty<T>(with_last(x, size.outputs));
    compute(
        [size, in = x_data.data(), weights = w_data.view(), bias = pointer(b_data), out = z.mutable_data()] {
          cpu::dense_forward(size, in, weights, bias, out);
        },
        x_data, w_data.array, b_data, z);
    return z;
  });
}

py::object dense_gradient(const py::object& x_, const py::object& w_, const py::object&, const py::object& G_) {
  const auto x = floats("x", x_), w = floats("w", w_), G = floats("G", G_);
  const auto size = dense_size(x, w);
  check_shape("G", G, with_last(x, size.outputs));
  return with_widest({w, G}, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Packed<T> G_data(G);
    const Weights<T> w_data(w);
    auto G_x = empty<T>(shape_of(x));
    compute([size, weights = w_data.view(), in = G_data.data(),
             out = G_x.mutable_data()] { cpu::dense_gradient(size, weights, in, out); },
            w_data.array, G_data, G_x, x);
    return G_x;
  });
}

py::object dense_tangent(const py::object& x_, const py::object& w, const py::object&, const py::object& dx_) {
  const auto dx = floats("dx", dx_);
  check_shape("dx", dx, shape_of(floats("x", x_)));
  return dense_forward(dx, w, py::none());
}

py::object dense_relevance(const py::object& x_, const py::object& w_, const py::object& b_, const py::object& R_,
                           const py::object& rule, const py::object& z_, const py::object& account) {
  const auto x = floats("x", x_), w = floats("w", w_), R = floats("R", R_);
  const auto b = floats_or_none("b", b_), z = floats_or_none("z", z_);
  auto size = dense_size(x, w);
  check_shape("R", R, with_last(x, size.outputs));
  if (b) check_shape("b", *b, {size.outputs});
  if (z) check_shape("z", *z, shape_of(R));
  size.one_x = is_one_sample(x, InHostMemory::or_none("z", z_));
  return with_widest({x, w, R, b.value_or(x), z.value_or(x)}, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Packed<T> x_data(size.one_x ? first_sample(x) : x), R_data(R);
    const Weights<T> w_data(w);
    const auto b_data = packed<T>(b), z_data = packed<T>(z && size.one_x ? first_sample(*z) : z);
    const auto rule_data = rule_for<T>(rule, x_data);
    if (std::holds_alternative<math::Pass<T>>(rule_data.rule)) return pass(x, R_data);
    const AccountFor<T> kept(account, R, b.has_value());
    auto r = empty<T>(shape_of(x));
    compute(
        [size, in = x_data.data(), weights = w_data.view(), bias = pointer(b_data), arrived = R_data.data(),
         acting = rule_data.rule, bounds = rule_data.bounds, known = pointer(z_data), account = kept.copied(),
         out = r.mutable_data()] {
          cpu::dense_relevance(size, in, weights, bias, arrived, acting, bounds, known, pointer(account), out);
        },
        x_data, w_data.array, b_data, R_data, rule_data.kept_alive, z_data, kept.arrays(), r);
    kept.write();
    return r;
  });
}

}  // namespace

void bind_dense(py::module_& cpu) {
  def(cpu, "dense_forward", &dense_forward);
  def(cpu, "dense_gradient", &dense_gradient);
  def(cpu, "dense_tangent", &dense_tangent);
  def(cpu, "dense_relevance", &dense_relevance);
}
