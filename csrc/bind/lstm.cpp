#include "relprop/lstm.h"

#include "recurrent.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

constexpr Index gates = 4;

// pyref's LSTMRecord of a forward pass.
template <class T>
py::object forward(const RecurrentArguments& given, const std::optional<py::array>& h0, const std::optional<py::array>& c0,
                   bool reverse) {
  const auto& size = given.size;
  const auto x = given.masked<T>(given.x);
  const RecurrentWeightsOf<T> w(given);
  constexpr Index at_c = gates, at_h = gates + 1;
  Rows<T> all(size, gates + 2, reverse);
  const cpu::LSTMStates<T> out{all.block(0), all.states(at_c, c0), all.states(at_h, h0)};
  const auto time = given.time(reverse);
  const T* x_data = x.data();
  {
    py::gil_scoped_release release;
    cpu::lstm_forward(size, time, x_data, w.view(), out);
  }
  using namespace py::literals;
  return py::module_::import("pyref.layers.lstm")
      .attr("LSTMRecord")("x"_a = x, "z"_a = all.steps(0, gates), "c"_a = all.after(at_c), "c_prev"_a = all.before(at_c),
                          "h"_a = all.after(at_h), "h_prev"_a = all.before(at_h), "reverse"_a = py::bool_(reverse));
}

// The record that is given, or that of a forward pass.
template <class T>
py::object record_of(const py::object& record, const RecurrentArguments& given, const py::object& h0, const py::object& c0,
                     bool reverse) {
  if (!record.is_none()) return record;
  return forward<T>(given, initial("h0", h0, given.size), initial("c0", c0, given.size), reverse);
}

// A record's sequences as the kernels read them.
template <class T>
struct Record {
  Record(const py::object& record, const cpu::RecurrentSize& size)
      : x(record, "x", size, size.inputs), z(record, "z", size, gates * size.width), c(record, "c", size, size.width),
        c_prev(record, "c_prev", size, size.width), h(record, "h", size, size.width),
        h_prev(record, "h_prev", size, size.width), reverse(py::cast<bool>(record.attr("reverse"))) {}
  cpu::LSTMRecord<T> view() const {
    return {x.view(), z.view(), c.view(), c_prev.view(), h.view(), h_prev.view()};
  }
  Sequence<T> x, z, c, c_prev, h, h_prev;
  bool reverse;
};

py::object lstm_forward(const py::object& x, const py::object& w_x, const py::object& w_h, const py::object& b,
                        const py::object& h0_, const py::object& c0_, const py::object& lengths, bool reverse) {
  const RecurrentArguments given(x, w_x, w_h, b, lengths, gates);
  const auto h0 = initial("h0", h0_, given.size), c0 = initial("c0", c0_, given.size);
  return with_widest(deciding(given, py::none(), {h0, c0}), [&](auto zero) -> py::object {
    const auto record = forward<decltype(zero)>(given, h0, c0, reverse);
    return py::make_tuple(without_padding(record.attr("h"), lengths), record);
  });
}

// The arrays that a signal's way back writes: at x, h0 and c0.
template <class T>
struct Signals {
  explicit Signals(const cpu::RecurrentSize& size)
      : x(empty<T>({size.samples, size.steps, size.inputs})), h0(empty<T>({size.samples, size.width})), c0(empty<T>(shape_of(h0))) {}
  py::object all() const { return py::make_tuple(x, h0, c0); }
  Packed<T> x, h0, c0;
};

py::object lstm_gradient(const py::object& x, const py::object& w_x, const py::object& w_h, const py::object& b,
                         const py::object& G, const py::object& h0, const py::object& c0, const py::object& lengths, bool reverse,
                         const py::object& G_last, const py::object& record) {
  const RecurrentArguments given(x, w_x, w_h, b, lengths, gates);
  const auto& size = given.size;
  if (record.is_none()) initial("h0", h0, size), initial("c0", c0, size);
  const SignalArguments signal("G", G, G_last, size);
  return with_widest(deciding(given, record, {signal.S, signal.last}), [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Record<T> known(record_of<T>(record, given, h0, c0, reverse), size);
    const RecurrentWeightsOf<T> w(given);
    const Packed<T> G_data(signal.S);
    const auto last = packed<T>(signal.last);
    Signals<T> out(size);
    T *G_x = out.x.mutable_data(), *G_h0 = out.h0.mutable_data(), *G_c0 = out.c0.mutable_data();
    {
      py::gil_scoped_release release;
      cpu::lstm_gradient(size, given.time(known.reverse), known.view(), w.view(), G_data.data(), pointer(last), G_x, G_h0, G_c0);
    }
    return out.all();
  });
}

py::object lstm_tangent(const py::object& x, const py::object& w_x, const py::object& w_h, const py::object& b,
                        const py::object& dx_, const py::object& h0, const py::object& c0, const py::object& lengths, bool reverse,
                        const py::object& dh0_, const py::object& dc0_, const py::object& record) {
  const RecurrentArguments given(x, w_x, w_h, b, lengths, gates);
  const auto& size = given.size;
  if (record.is_none()) initial("h0", h0, size), initial("c0", c0, size);
  const auto dx = floats("dx", dx_);
  check_shape("dx", dx, shape_of(given.x));
  const auto dh0 = initial("dh0", dh0_, size), dc0 = initial("dc0", dc0_, size);
  return with_widest(deciding(given, record, {dx, dh0, dc0}), [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Record<T> known(record_of<T>(record, given, h0, c0, reverse), size);
    const RecurrentWeightsOf<T> w(given);
    const auto dx_data = given.masked<T>(dx);
    const auto dh0_data = packed<T>(dh0), dc0_data = packed<T>(dc0);
    auto dh = empty<T>({size.samples, size.steps, size.width}), dh_last = empty<T>({size.samples, size.width}),
         dc_last = empty<T>({size.samples, size.width});
    T *out = dh.mutable_data(), *h_out = dh_last.mutable_data(), *c_out = dc_last.mutable_data();
    {
      py::gil_scoped_release release;
      cpu::lstm_tangent(size, given.time(known.reverse), known.view(), w.view(), dx_data.data(), pointer(dh0_data),
                        pointer(dc0_data), out, h_out, c_out);
    }
    return py::make_tuple(dh, dh_last, dc_last);
  });
}

py::object lstm_relevance(const py::object& x, const py::object& w_x, const py::object& w_h, const py::object& b,
                          const py::object& R, const py::object& rule, const py::object& gate_, const py::object& h0,
                          const py::object& c0, const py::object& lengths, bool reverse, const py::object& R_last,
                          const py::object& record, const py::object& account) {
  const auto gate = choice<math::Gate>("gate", gate_, "GATES");
  const RecurrentArguments given(x, w_x, w_h, b, lengths, gates);
  const auto& size = given.size;
  if (record.is_none()) initial("h0", h0, size), initial("c0", c0, size);
  const SignalArguments signal("R", R, R_last, size);
  return with_widest(deciding(given, record, {signal.S, signal.last}), [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto forward = record_of<T>(record, given, h0, c0, reverse);
    const Record<T> known(forward, size);
    const RecurrentRule<T> one(rule, size);
    if (one.refuses(known.x.view(), one.bounds.x, size, size.inputs) || one.refuses(known.h_prev.view(), one.bounds.h, size, size.width)) {
      using namespace py::literals;  // raises
      py::module_::import("pyref").attr("lstm_relevance")(x, w_x, w_h, b, R, rule, gate_, "lengths"_a = lengths, "record"_a = forward);
    }
    const RecurrentWeightsOf<T> w(given);
    const Packed<T> R_data(signal.S);
    const auto last = packed<T>(signal.last);
    const RecurrentAccount<T> kept(account, size.samples, gates * size.width, given.b.has_value());
    Signals<T> out(size);
    T *R_x = out.x.mutable_data(), *R_h0 = out.h0.mutable_data(), *R_c0 = out.c0.mutable_data();
    {
      py::gil_scoped_release release;
      cpu::lstm_relevance(size, given.time(known.reverse), known.view(), w.view(), R_data.data(), pointer(last), one.compiled, gate,
                          one.bounds, kept.pointer(), R_x, R_h0, R_c0);
    }
    kept.write(out.h0.attr("__add__")(out.c0));
    return out.all();
  });
}

py::object lstm_multiplier(const py::object& x, const py::object& w_x, const py::object& w_h, const py::object& b,
                           const py::object& x0_, const py::object& M, const py::object& product_, const py::object& h0,
                           const py::object& c0, const py::object& lengths, bool reverse, const py::object& M_last,
                           const py::object& record, const py::object& record0) {
  RecurrentArguments given(x, w_x, w_h, b, lengths, gates);
  const auto& size = given.size;
  if (record.is_none() || record0.is_none()) initial("h0", h0, size), initial("c0", c0, size);
  const auto x0 = floats("x0", x0_);
  const auto size0 = size_of_baseline(given, x0);
  const SignalArguments signal("M", M, M_last, size);
  const auto product = choice<math::Product>("product", product_, "PRODUCTS");
  return with_widest(deciding(given, record, {x0, signal.S, signal.last}), [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Record<T> known(record_of<T>(record, given, h0, c0, reverse), size);
    given.x = spread(x0, shape_of(given.x));
    const Record<T> known0(record_of<T>(record0, given, h0, c0, reverse), record0.is_none() ? size : size0);
    const RecurrentWeightsOf<T> w(given);
    const Packed<T> M_data(signal.S);
    const auto last = packed<T>(signal.last);
    Signals<T> out(size);
    T *M_x = out.x.mutable_data(), *M_h0 = out.h0.mutable_data(), *M_c0 = out.c0.mutable_data();
    {
      py::gil_scoped_release release;
      cpu::lstm_multiplier(size, given.time(known.reverse), known.view(), known0.view(), w.view(), M_data.data(), pointer(last),
                           product, M_x, M_h0, M_c0);
    }
    return out.all();
  });
}

}  // namespace

void bind_lstm(py::module_& cpu) {
  def(cpu, "lstm_forward", &lstm_forward);
  def(cpu, "lstm_gradient", &lstm_gradient);
  def(cpu, "lstm_tangent", &lstm_tangent);
  def(cpu, "lstm_relevance", &lstm_relevance);
  def(cpu, "lstm_multiplier", &lstm_multiplier);
}
