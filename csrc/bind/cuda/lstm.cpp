// The LSTM of pyref/layers/lstm.py.
#include "cuda/lstm.h"

#include "recurrent.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

constexpr Index gates = 4;

// The arrays of a forward pass.
struct Arrays {
  DeviceArray x, z, c, h;
  Index steps;
  bool reverse;

  DeviceRecord record() const {
    const auto at = [&](const DeviceArray& states, bool later) { return part_of(states, 1, later ? 1 : 0, steps); };
    return {{{"x", x},
             {"z", z},
             {"c", at(c, !reverse)},
             {"c_prev", at(c, reverse)},
             {"h", at(h, !reverse)},
             {"h_prev", at(h, reverse)}},
            reverse};
  }
};

template <class T>
Arrays forward(Call& call, RecurrentArguments& given, const Argument& x, const Argument& h0, const Argument& c0, bool reverse) {
  const auto& size = given.size;
  const std::vector<Index> states{size.samples, size.steps + 1, size.width};
  Arrays all{given.masked<T>(call, x), call.out<T>({size.samples, size.steps, gates * size.width}).array, call.out<T>(states).array,
             call.out<T>(states).array, size.steps, reverse};
  const cuda::LSTMStates<T> out{writable<T>(all.z), writable<T>(all.c), writable<T>(all.h)};
  const auto w = given.weights<T>(call);
  const auto time = given.time(call, reverse);
  const T *h0_data = call.in<T>(h0), *c0_data = call.in<T>(c0), *x_data = static_cast<const T*>(all.x.data);
  call.run([&] { cuda::lstm_forward(call.operation(), call.stream(), size, time, x_data, w, h0_data, c0_data, out); });
  return all;
}

// pyref's LSTMRecord of them.
template <class T>
py::object as_record(Call& call, const Arrays& all) {
  const Whole<T> x(call, all.x), z(call, all.z), c(call, all.c), h(call, all.h);
  const auto at = [&](const Whole<T>& states, bool later) { return states.part(1, later ? 1 : 0, all.steps); };
  using namespace py::literals;
  return py::module_::import("pyref.layers.lstm")
      .attr("LSTMRecord")("x"_a = x.all(), "z"_a = z.all(), "c"_a = at(c, !all.reverse), "c_prev"_a = at(c, all.reverse),
                          "h"_a = at(h, !all.reverse), "h_prev"_a = at(h, all.reverse), "reverse"_a = py::bool_(all.reverse));
}

template <class T>
cuda::LSTMRecord<T> view(const DeviceRecord& r) {
  return {r.at<T>("x"), r.at<T>("z"), r.at<T>("c"), r.at<T>("c_prev"), r.at<T>("h"), r.at<T>("h_prev")};
}

py::object lstm_forward(const py::object& x, const py::object& w_x, const py::object& w_h, const py::object& b,
                        const py::object& h0_, const py::object& c0_, const py::object& lengths, bool reverse) {
  RecurrentArguments given(x, w_x, w_h, b, lengths, gates);
  const auto h0 = initial("h0", h0_, given.size), c0 = initial("c0", c0_, given.size);
  Call call("lstm_forward", arguments_of(given, {}, {&h0, &c0}));
  return call.with_widest([&](auto zero) -> py::object {
    using T = decltype(zero);
    const Arrays all = forward<T>(call, given, given.x, h0, c0, reverse);
    const auto record = as_record<T>(call, all);
    return py::make_tuple(without_padding(call, given, record.attr("h"), all.record().at<T>("h")), record);
  });
}

// What a signal's way back starts from: the record, given or made, and weights.
struct Known {
  py::object record, h0_, c0_;
  bool reverse;
  RecordArguments arguments;
  Argument h0, c0;

  Known(const py::object& record, const py::object& h0_, const py::object& c0_, bool reverse, const cuda::RecurrentSize& size)
      : record(record), reverse(reverse), arguments(record_arguments(record, size, gates * size.width)),
        h0(record.is_none() ? initial("h0", h0_, size) : or_none("h0", py::none())),
        c0(record.is_none() ? initial("c0", c0_, size) : or_none("c0", py::none())) {}

  template <class T>
  DeviceRecord on_device(Call& call, RecurrentArguments& given, const Argument& x) const {
    if (!record.is_none()) return given_record<T>(call, record, arguments);
    return forward<T>(call, given, x, h0, c0, reverse).record();
  }
};

// The arrays that a signal's way back writes: at x, h0 and c0.
template <class T>
struct Signals {
  Signals(Call& call, const cuda::RecurrentSize& size)
      : x(call.out<T>({size.samples, size.steps, size.inputs})), h0(call.out<T>({size.samples, size.width})),
        c0(call.out<T>({size.samples, size.width})) {}
  py::object all(Call& call) const { return py::make_tuple(call.give(x), call.give(h0), call.give(c0)); }
  Output<T> x, h0, c0;
};

py::object lstm_gradient(const py::object& x, const py::object& w_x, const py::object& w_h, const py::object& b,
                         const py::object& G, const py::object& h0, const py::object& c0, const py::object& lengths, bool reverse,
                         const py::object& G_last, const py::object& record_) {
  RecurrentArguments given(x, w_x, w_h, b, lengths, gates);
  const Known known(record_, h0, c0, reverse, given.size);
  const SignalArguments signal("G", G, "G_last", G_last, given.size);
  Call call("lstm_gradient", arguments_of(given, known.arguments, {&known.h0, &known.c0, &signal.S, &signal.last}));
  return call.with_widest([&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto record = known.on_device<T>(call, given, given.x);
    const auto w = given.weights<T>(call);
    const auto time = given.time(call, record.reverse);
    const T *G_data = call.in<T>(signal.S), *last = call.in<T>(signal.last);
    const Signals<T> out(call, given.size);
    call.run([&] {
      cuda::lstm_gradient(call.operation(), call.stream(), given.size, time, view<T>(record), w, G_data, last, out.x.data(), out.h0.data(),
                          out.c0.data());
    });
    return out.all(call);
  });
}

py::object lstm_tangent(const py::object& x, const py::object& w_x, const py::object& w_h, const py::object& b,
                        const py::object& dx_, const py::object& h0, const py::object& c0, const py::object& lengths, bool reverse,
                        const py::object& dh0_, const py::object& dc0_, const py::object& record_) {
  RecurrentArguments given(x, w_x, w_h, b, lengths, gates);
  const auto& size = given.size;
  const Known known(record_, h0, c0, reverse, size);
  const Argument dx("dx", dx_);
  check_shape(dx, given.x.shape());
  const auto dh0 = initial("dh0", dh0_, size), dc0 = initial("dc0", dc0_, size);
  Call call("lstm_tangent", arguments_of(given, known.arguments, {&known.h0, &known.c0, &dx, &dh0, &dc0}));
  return call.with_widest([&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto record = known.on_device<T>(call, given, given.x);
    const auto w = given.weights<T>(call);
    const auto time = given.time(call, record.reverse);
    const auto change = given.masked<T>(call, dx);
    const T *dh0_data = call.in<T>(dh0), *dc0_data = call.in<T>(dc0);
    const auto dh = call.out<T>({size.samples, size.steps, size.width}), h = call.out<T>({size.samples, size.width}),
               c = call.out<T>({size.samples, size.width});
    call.run([&] {
      cuda::lstm_tangent(call.operation(), call.stream(), size, time, view<T>(record), w, static_cast<const T*>(change.data), dh0_data,
                         dc0_data, dh.data(), h.data(), c.data());
    });
    return py::make_tuple(call.give(dh), call.give(h), call.give(c));
  });
}

py::object lstm_relevance(const py::object& x, const py::object& w_x, const py::object& w_h, const py::object& b,
                          const py::object& R, const py::object& rule, const py::object& gate_, const py::object& h0,
                          const py::object& c0, const py::object& lengths, bool reverse, const py::object& R_last,
                          const py::object& record_, const py::object& account) {
  const auto gate = choice<math::Gate>("gate", gate_);
  RecurrentArguments given(x, w_x, w_h, b, lengths, gates);
  const auto& size = given.size;
  const Known known(record_, h0, c0, reverse, size);
  const SignalArguments signal("R", R, "R_last", R_last, size);
  Call call("lstm_relevance", arguments_of(given, known.arguments, {&known.h0, &known.c0, &signal.S, &signal.last}));
  return call.with_widest([&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto record = known.on_device<T>(call, given, given.x);
    const RecurrentRule<T> one(call, rule, size);
    const auto now = view<T>(record);
    if (one.is_strict_box()) {
      bool is_refused = false;
      const auto h = call.out<T>({size.samples, size.steps, size.width});
      call.run([&] {
        cuda::pack_steps(call.operation(), call.stream(), size, size.width, now.h_prev, h.data());
        is_refused = one.refuses(call, now.x.data, one.bounds.x, size, size.inputs) ||
                     one.refuses(call, h.data(), one.bounds.h, size, size.width);
      });
      using namespace py::literals;
      if (is_refused)  // raises
        py::module_::import("pyref").attr("lstm_relevance")(
            on_host(given.x), on_host(given.w_x), on_host(given.w_h), given.b ? py::object(on_host(given.b)) : py::none(),
            on_host(signal.S), rule, gate_, "lengths"_a = given.lengths ? py::object(*given.lengths) : py::none(),
            "record"_a = known.record.is_none() ? py::object(py::none()) : on_host<T>(call, known.record),
            "h0"_a = known.h0 ? py::object(on_host(known.h0)) : py::none(), "c0"_a = known.c0 ? py::object(on_host(known.c0)) : py::none(),
            "reverse"_a = reverse);
    }
    const auto w = given.weights<T>(call);
    const auto time = given.time(call, record.reverse);
    const T *R_data = call.in<T>(signal.S), *last = call.in<T>(signal.last);
    const RecurrentAccount<T> kept(call, account, size, gates * size.width, bool(given.b));
    const Signals<T> out(call, size);
    call.run([&] {
      cuda::lstm_relevance(call.operation(), call.stream(), size, time, now, w, R_data, last, one.compiled, gate, one.bounds,
                           kept.pointer(), out.x.data(), out.h0.data(), out.c0.data());
    });
    kept.write(out.h0, &out.c0);
    return out.all(call);
  });
}

py::object lstm_multiplier(const py::object& x, const py::object& w_x, const py::object& w_h, const py::object& b,
                           const py::object& x0_, const py::object& M, const py::object& product_, const py::object& h0,
                           const py::object& c0, const py::object& lengths, bool reverse, const py::object& M_last,
                           const py::object& record_, const py::object& record0_) {
  RecurrentArguments given(x, w_x, w_h, b, lengths, gates);
  const auto& size = given.size;
  const Known known(record_, h0, c0, reverse, size);
  const Argument x0("x0", x0_);
  const auto size0 = size_of_baseline(given, x0);
  const Known known0(record0_, h0, c0, reverse, record0_.is_none() ? size : size0);
  const SignalArguments signal("M", M, "M_last", M_last, size);
  const auto product = choice<math::Product>("product", product_);
  auto all = arguments_of(given, known.arguments, {&known.h0, &known.c0, &known0.h0, &known0.c0, &x0, &signal.S, &signal.last});
  for (const auto& [name, v] : known0.arguments) all.push_back(&v);
  Call call("lstm_multiplier", all);
  return call.with_widest([&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto record = known.on_device<T>(call, given, given.x), record0 = known0.on_device<T>(call, given, x0);
    const auto w = given.weights<T>(call);
    const auto time = given.time(call, record.reverse);
    const T *M_data = call.in<T>(signal.S), *last = call.in<T>(signal.last);
    const Signals<T> out(call, size);
    call.run([&] {
      cuda::lstm_multiplier(call.operation(), call.stream(), size, time, view<T>(record), view<T>(record0), w, M_data, last, product,
                            out.x.data(), out.h0.data(), out.c0.data());
    });
    return out.all(call);
  });
}

}  // namespace

void bind_cuda_lstm(py::module_& module) {
  def(module, "lstm_forward", &lstm_forward);
  def(module, "lstm_gradient", &lstm_gradient);
  def(module, "lstm_tangent", &lstm_tangent);
  def(module, "lstm_relevance", &lstm_relevance);
  def(module, "lstm_multiplier", &lstm_multiplier);
}
