#include "relprop/gru.h"

#include "recurrent.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

constexpr Index gates = 3;

struct GRUArguments : RecurrentArguments {
  GRUArguments(const py::object& x, const py::object& w_x, const py::object& w_h, const py::object& b, const py::object& b_n_,
               const py::object& lengths, bool linear_before_reset)
      : RecurrentArguments(x, w_x, w_h, b, lengths, gates), b_n(floats_or_none("b_n", b_n_)), is_linear(linear_before_reset) {
    if (b_n && (b_n->ndim() != 1 || b_n->shape(0) != size.width || !is_linear))
      py::module_::import("pyref.layers.gru").attr("_check_b_n")(b_n_, w_h, linear_before_reset);
  }
  std::optional<py::array> b_n;
  bool is_linear;
};

template <class T>
struct Weights {
  explicit Weights(const GRUArguments& given) : w(given), b_n(packed<T>(given.b_n)), is_linear(given.is_linear) {}
  cpu::GRUWeights<T> view() const { return {w.view(), pointer(b_n), is_linear}; }
  RecurrentWeightsOf<T> w;
  std::optional<Packed<T>> b_n;
  bool is_linear;
};

// pyref's GRURecord of a forward pass.
template <class T>
py::object forward(const GRUArguments& given, const std::optional<py::array>& h0, bool reverse) {
  const auto& size = given.size;
  const auto x = given.masked<T>(given.x);
  const Weights<T> w(given);
  constexpr Index at_gates = gates, at_h = 2 * gates, at_q = at_h + 1;
  Rows<T> all(size, given.is_linear ? at_q + 1 : at_q, reverse);
  const cpu::GRUStates<T> out{all.block(0), all.block(at_gates), given.is_linear ? all.block(at_q) : cpu::Steps<T>(),
                              all.states(at_h, h0)};
  const auto time = given.time(reverse);
  const T* x_data = x.data();
  {
    py::gil_scoped_release release;
    cpu::gru_forward(size, time, x_data, w.view(), out);
  }
  using namespace py::literals;
  return py::module_::import("pyref.layers.gru")
      .attr("GRURecord")("x"_a = x, "z"_a = all.steps(0, gates), "r"_a = all.steps(at_gates), "u"_a = all.steps(at_gates + 1),
                         "n"_a = all.steps(at_gates + 2), "q"_a = given.is_linear ? all.steps(at_q) : all.before(at_h),
                         "h"_a = all.after(at_h), "h_prev"_a = all.before(at_h), "reverse"_a = py::bool_(reverse));
}

// The record that is given, or that of a forward pass.
template <class T>
py::object record_of(const py::object& record, const GRUArguments& given, const py::object& h0, bool reverse) {
  return record.is_none() ? forward<T>(given, initial("h0", h0, given.size), reverse) : record;
}

// A record's sequences as the kernels read them.
template <class T>
struct Record {
  Record(const py::object& record, const cpu::RecurrentSize& size)
      : x(record, "x", size, size.inputs), z(record, "z", size, gates * size.width), r(record, "r", size, size.width),
        u(record, "u", size, size.width), n(record, "n", size, size.width), q(record, "q", size, size.width),
        h(record, "h", size, size.width), h_prev(record, "h_prev", size, size.width),
        reverse(py::cast<bool>(record.attr("reverse"))) {}
  cpu::GRURecord<T> view() const {
    return {x.view(), z.view(), r.view(), u.view(), n.view(), q.view(), h.view(), h_prev.view()};
  }
  Sequence<T> x, z, r, u, n, q, h, h_prev;
  bool reverse;
};

py::object gru_forward(const py::object& x, const py::object& w_x, const py::object& w_h, const py::object& b, const py::object& b_n,
                       const py::object& h0_, const py::object& lengths, bool linear_before_reset, bool reverse) {
  const GRUArguments given(x, w_x, w_h, b, b_n, lengths, linear_before_reset);
  const auto h0 = initial("h0", h0_, given.size);
  return with_widest(deciding(given, py::none(), {given.b_n, h0}), [&](auto zero) -> py::object {
    const auto record = forward<decltype(zero)>(given, h0, reverse);
    return py::make_tuple(without_padding(record.attr("h"), lengths), record);
  });
}

py::object gru_gradient(const py::object& x, const py::object& w_x, const py::object& w_h, const py::object& b,
                        const py::object& b_n, const py::object& G, const py::object& h0, const py::object& lengths,
                        bool linear_before_reset, bool reverse, const py::object& G_last, const py::object& record) {
  const GRUArguments given(x, w_x, w_h, b, b_n, lengths, linear_before_reset);
  const auto& size = given.size;
  if (record.is_none()) initial("h0", h0, size);
  const SignalArguments signal("G", G, G_last, size);
  return with_widest(deciding(given, record, {given.b_n, signal.S, signal.last}), [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Record<T> known(record_of<T>(record, given, h0, reverse), size);
    const Weights<T> w(given);
    const Packed<T> G_data(signal.S);
    const auto last = packed<T>(signal.last);
    auto G_x = empty<T>({size.samples, size.steps, size.inputs}), G_h0 = empty<T>({size.samples, size.width});
    T *to_x = G_x.mutable_data(), *to_h0 = G_h0.mutable_data();
    {
      py::gil_scoped_release release;
      cpu::gru_gradient(size, given.time(known.reverse), known.view(), w.view(), G_data.data(), pointer(last), to_x, to_h0);
    }
    return py::make_tuple(G_x, G_h0);
  });
}

py::object gru_tangent(const py::object& x, const py::object& w_x, const py::object& w_h, const py::object& b, const py::object& b_n,
                       const py::object& dx_, const py::object& h0, const py::object& lengths, bool linear_before_reset,
                       bool reverse, const py::object& dh0_, const py::object& record) {
  const GRUArguments given(x, w_x, w_h, b, b_n, lengths, linear_before_reset);
  const auto& size = given.size;
  if (record.is_none()) initial("h0", h0, size);
  const auto dx = floats("dx", dx_);
  check_shape("dx", dx, shape_of(given.x));
  const auto dh0 = initial("dh0", dh0_, size);
  return with_widest(deciding(given, record, {given.b_n, dx, dh0}), [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Record<T> known(record_of<T>(record, given, h0, reverse), size);
    const Weights<T> w(given);
    const auto dx_data = given.masked<T>(dx);
    const auto dh0_data = packed<T>(dh0);
    auto dh = empty<T>({size.samples, size.steps, size.width}), dh_last = empty<T>({size.samples, size.width});
    T *out = dh.mutable_data(), *last = dh_last.mutable_data();
    {
      py::gil_scoped_release release;
      cpu::gru_tangent(size, given.time(known.reverse), known.view(), w.view(), dx_data.data(), pointer(dh0_data), out, last);
    }
    return py::make_tuple(dh, dh_last);
  });
}

// Whether a box refuses x, r ⊙ q or h₋ of a record: the functions of pyref then say which, if they meet it.
template <class T>
bool refuses(const RecurrentRule<T>& rule, const Record<T>& known, const py::object& record, const cpu::RecurrentSize& size) {
  if (!rule.is_strict_box()) return false;
  const Packed<T> s(py::cast<py::array>(record.attr("r").attr("__mul__")(record.attr("q"))));
  const cpu::Steps<const T> steps{s.data(), size.steps * size.width, size.width};
  return rule.refuses(known.x.view(), rule.bounds.x, size, size.inputs) || rule.refuses(steps, rule.bounds.h, size, size.width) ||
         rule.refuses(known.h_prev.view(), rule.bounds.h, size, size.width);
}

py::object gru_relevance(const py::object& x, const py::object& w_x, const py::object& w_h, const py::object& b,
                         const py::object& b_n, const py::object& R, const py::object& rule, const py::object& gate_,
                         const py::object& h0, const py::object& lengths, bool linear_before_reset, bool reverse,
                         const py::object& R_last, const py::object& record, const py::object& account) {
  const auto gate = choice<math::Gate>("gate", gate_, "GATES");
  const GRUArguments given(x, w_x, w_h, b, b_n, lengths, linear_before_reset);
  const auto& size = given.size;
  if (record.is_none()) initial("h0", h0, size);
  const SignalArguments signal("R", R, R_last, size);
  return with_widest(deciding(given, record, {given.b_n, signal.S, signal.last}), [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto forward = record_of<T>(record, given, h0, reverse);
    const Record<T> known(forward, size);
    const RecurrentRule<T> one(rule, size);
    if (refuses(one, known, forward, size)) {
      using namespace py::literals;
      py::module_::import("pyref").attr("gru_relevance")(x, w_x, w_h, b, b_n, R, rule, gate_, "lengths"_a = lengths,
                                                         "linear_before_reset"_a = linear_before_reset, "record"_a = forward);
    }
    const Weights<T> w(given);
    const Packed<T> R_data(signal.S);
    const auto last = packed<T>(signal.last);
    const RecurrentAccount<T> kept(account, size.samples, 5 * size.width, true);
    auto R_x = empty<T>({size.samples, size.steps, size.inputs}), R_h0 = empty<T>({size.samples, size.width});
    T *to_x = R_x.mutable_data(), *to_h0 = R_h0.mutable_data();
    {
      py::gil_scoped_release release;
      cpu::gru_relevance(size, given.time(known.reverse), known.view(), w.view(), R_data.data(), pointer(last), one.compiled, gate,
                         one.bounds, kept.pointer(), to_x, to_h0);
    }
    kept.write(R_h0);
    return py::make_tuple(R_x, R_h0);
  });
}

py::object gru_multiplier(const py::object& x, const py::object& w_x, const py::object& w_h, const py::object& b,
                          const py::object& b_n, const py::object& x0_, const py::object& M, const py::object& product_,
                          const py::object& h0, const py::object& lengths, bool linear_before_reset, bool reverse,
                          const py::object& M_last, const py::object& record, const py::object& record0) {
  GRUArguments given(x, w_x, w_h, b, b_n, lengths, linear_before_reset);
  const auto& size = given.size;
  if (record.is_none() || record0.is_none()) initial("h0", h0, size);
  const auto x0 = floats("x0", x0_);
  const auto size0 = size_of_baseline(given, x0);
  const SignalArguments signal("M", M, M_last, size);
  const auto product = choice<math::Product>("product", product_, "PRODUCTS");
  return with_widest(deciding(given, record, {given.b_n, x0, signal.S, signal.last}), [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Record<T> known(record_of<T>(record, given, h0, reverse), size);
    given.x = spread(x0, shape_of(given.x));
    const Record<T> known0(record_of<T>(record0, given, h0, reverse), record0.is_none() ? size : size0);
    const Weights<T> w(given);
    const Packed<T> M_data(signal.S);
    const auto last = packed<T>(signal.last);
    auto M_x = empty<T>({size.samples, size.steps, size.inputs}), M_h0 = empty<T>({size.samples, size.width});
    T *to_x = M_x.mutable_data(), *to_h0 = M_h0.mutable_data();
    {
      py::gil_scoped_release release;
      cpu::gru_multiplier(size, given.time(known.reverse), known.view(), known0.view(), w.view(), M_data.data(), pointer(last),
                          product, to_x, to_h0);
    }
    return py::make_tuple(M_x, M_h0);
  });
}

}  // namespace

void bind_gru(py::module_& cpu) {
  def(cpu, "gru_forward", &gru_forward);
  def(cpu, "gru_gradient", &gru_gradient);
  def(cpu, "gru_tangent", &gru_tangent);
  def(cpu, "gru_relevance", &gru_relevance);
  def(cpu, "gru_multiplier", &gru_multiplier);
}
