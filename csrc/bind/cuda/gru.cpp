// The GRU of pyref/layers/gru.py.
#include "cuda/gru.h"

#include "recurrent.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

constexpr Index gates = 3;

struct GRUArguments : RecurrentArguments {
  GRUArguments(const py::object& x, const py::object& w_x, const py::object& w_h, const py::object& b, const py::object& b_n_,
               const py::object& lengths, bool linear_before_reset)
      : RecurrentArguments(x, w_x, w_h, b, lengths, gates), b_n(or_none("b_n", b_n_)), is_linear(linear_before_reset) {
    if (b_n && (b_n.shape() != std::vector<Index>{size.width} || !is_linear))
      py::module_::import("pyref.layers.gru").attr("_check_b_n")(b_n_, w_h, linear_before_reset);
  }
  template <class T>
  cuda::GRUWeights<T> weights(Call& call) const {
    return {RecurrentArguments::weights<T>(call), call.in<T>(b_n), is_linear};
  }
  Argument b_n;
  bool is_linear;
};

// The arrays of a forward pass; q only with linear_before_reset, else it is h before the step.
struct Arrays {
  DeviceArray x, z, gates, q, h;
  Index steps, width;
  bool reverse, is_linear;

  DeviceRecord record() const {
    const auto gate = [&](Index k) { return part_of(gates, 2, k * width, width); };
    const auto at = [&](bool later) { return part_of(h, 1, later ? 1 : 0, steps); };
    return {{{"x", x},
             {"z", z},
             {"r", gate(0)},
             {"u", gate(1)},
             {"n", gate(2)},
             {"q", is_linear ? q : at(reverse)},
             {"h", at(!reverse)},
             {"h_prev", at(reverse)}},
            reverse};
  }
};

template <class T>
Arrays forward(Call& call, GRUArguments& given, const Argument& x, const Argument& h0, bool reverse) {
  const auto& size = given.size;
  const std::vector<Index> wide{size.samples, size.steps, gates * size.width};
  Arrays all{given.masked<T>(call, x),
             call.out<T>(wide).array,
             call.out<T>(wide).array,
             call.out<T>({given.is_linear ? size.samples : 0, size.steps, size.width}).array,
             call.out<T>({size.samples, size.steps + 1, size.width}).array,
             size.steps,
             size.width,
             reverse,
             given.is_linear};
  const cuda::GRUStates<T> out{writable<T>(all.z), writable<T>(all.gates), writable<T>(all.q), writable<T>(all.h)};
  const auto w = given.weights<T>(call);
  const auto time = given.time(call, reverse);
  const T *h0_data = call.in<T>(h0), *x_data = static_cast<const T*>(all.x.data);
  call.run([&] { cuda::gru_forward(call.operation(), call.stream(), size, time, x_data, w, h0_data, out); });
  return all;
}

// pyref's GRURecord of them.
template <class T>
py::object as_record(Call& call, const Arrays& all) {
  const Whole<T> x(call, all.x), z(call, all.z), gate(call, all.gates), q(call, all.q), h(call, all.h);
  const auto block = [&](Index k) { return gate.part(2, k * all.width, all.width); };
  const auto at = [&](bool later) { return h.part(1, later ? 1 : 0, all.steps); };
  using namespace py::literals;
  return py::module_::import("pyref.layers.gru")
      .attr("GRURecord")("x"_a = x.all(), "z"_a = z.all(), "r"_a = block(0), "u"_a = block(1), "n"_a = block(2),
                         "q"_a = all.is_linear ? q.all() : at(all.reverse), "h"_a = at(!all.reverse), "h_prev"_a = at(all.reverse),
                         "reverse"_a = py::bool_(all.reverse));
}

template <class T>
cuda::GRURecord<T> view(const DeviceRecord& r) {
  return {r.at<T>("x"), r.at<T>("z"), r.at<T>("r"), r.at<T>("u"), r.at<T>("n"), r.at<T>("q"), r.at<T>("h"), r.at<T>("h_prev")};
}

py::object gru_forward(const py::object& x, const py::object& w_x, const py::object& w_h, const py::object& b, const py::object& b_n,
                       const py::object& h0_, const py::object& lengths, bool linear_before_reset, bool reverse) {
  GRUArguments given(x, w_x, w_h, b, b_n, lengths, linear_before_reset);
  const auto h0 = initial("h0", h0_, given.size);
  Call call("gru_forward", arguments_of(given, {}, {&given.b_n, &h0}));
  return call.with_widest([&](auto zero) -> py::object {
    using T = decltype(zero);
    const Arrays all = forward<T>(call, given, given.x, h0, reverse);
    const auto record = as_record<T>(call, all);
    return py::make_tuple(without_padding(call, given, record.attr("h"), all.record().at<T>("h")), record);
  });
}

// The record that a signal's way back starts from, given or made.
struct Known {
  py::object record;
  bool reverse;
  RecordArguments arguments;
  Argument h0;

  Known(const py::object& record, const py::object& h0_, bool reverse, const cuda::RecurrentSize& size)
      : record(record), reverse(reverse), arguments(record_arguments(record, size, gates * size.width)),
        h0(record.is_none() ? initial("h0", h0_, size) : or_none("h0", py::none())) {}

  template <class T>
  DeviceRecord on_device(Call& call, GRUArguments& given, const Argument& x) const {
    if (!record.is_none()) return given_record<T>(call, record, arguments);
    return forward<T>(call, given, x, h0, reverse).record();
  }
};

// The arrays that a signal's way back writes: at x and h0.
template <class T>
struct Signals {
  Signals(Call& call, const cuda::RecurrentSize& size)
      : x(call.out<T>({size.samples, size.steps, size.inputs})), h0(call.out<T>({size.samples, size.width})) {}
  py::object all(Call& call) const { return py::make_tuple(call.give(x), call.give(h0)); }
  Output<T> x, h0;
};

py::object gru_gradient(const py::object& x, const py::object& w_x, const py::object& w_h, const py::object& b, const py::object& b_n,
                        const py::object& G, const py::object& h0, const py::object& lengths, bool linear_before_reset, bool reverse,
                        const py::object& G_last, const py::object& record_) {
  GRUArguments given(x, w_x, w_h, b, b_n, lengths, linear_before_reset);
  const Known known(record_, h0, reverse, given.size);
  const SignalArguments signal("G", G, "G_last", G_last, given.size);
  Call call("gru_gradient", arguments_of(given, known.arguments, {&given.b_n, &known.h0, &signal.S, &signal.last}));
  return call.with_widest([&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto record = known.on_device<T>(call, given, given.x);
    const auto w = given.weights<T>(call);
    const auto time = given.time(call, record.reverse);
    const T *G_data = call.in<T>(signal.S), *last = call.in<T>(signal.last);
    const Signals<T> out(call, given.size);
    call.run([&] {
      cuda::gru_gradient(call.operation(), call.stream(), given.size, time, view<T>(record), w, G_data, last, out.x.data(), out.h0.data());
    });
    return out.all(call);
  });
}

py::object gru_tangent(const py::object& x, const py::object& w_x, const py::object& w_h, const py::object& b, const py::object& b_n,
                       const py::object& dx_, const py::object& h0, const py::object& lengths, bool linear_before_reset, bool reverse,
                       const py::object& dh0_, const py::object& record_) {
  GRUArguments given(x, w_x, w_h, b, b_n, lengths, linear_before_reset);
  const auto& size = given.size;
  const Known known(record_, h0, reverse, size);
  const Argument dx("dx", dx_);
  check_shape(dx, given.x.shape());
  const auto dh0 = initial("dh0", dh0_, size);
  Call call("gru_tangent", arguments_of(given, known.arguments, {&given.b_n, &known.h0, &dx, &dh0}));
  return call.with_widest([&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto record = known.on_device<T>(call, given, given.x);
    const auto w = given.weights<T>(call);
    const auto time = given.time(call, record.reverse);
    const auto change = given.masked<T>(call, dx);
    const T* dh0_data = call.in<T>(dh0);
    const auto dh = call.out<T>({size.samples, size.steps, size.width}), h = call.out<T>({size.samples, size.width});
    call.run([&] {
      cuda::gru_tangent(call.operation(), call.stream(), size, time, view<T>(record), w, static_cast<const T*>(change.data), dh0_data,
                        dh.data(), h.data());
    });
    return py::make_tuple(call.give(dh), call.give(h));
  });
}

py::object gru_relevance(const py::object& x, const py::object& w_x, const py::object& w_h, const py::object& b, const py::object& b_n,
                         const py::object& R, const py::object& rule, const py::object& gate_, const py::object& h0,
                         const py::object& lengths, bool linear_before_reset, bool reverse, const py::object& R_last,
                         const py::object& record_, const py::object& account) {
  const auto gate = choice<math::Gate>("gate", gate_);
  GRUArguments given(x, w_x, w_h, b, b_n, lengths, linear_before_reset);
  const auto& size = given.size;
  const Known known(record_, h0, reverse, size);
  const SignalArguments signal("R", R, "R_last", R_last, size);
  Call call("gru_relevance", arguments_of(given, known.arguments, {&given.b_n, &known.h0, &signal.S, &signal.last}));
  return call.with_widest([&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto record = known.on_device<T>(call, given, given.x);
    const RecurrentRule<T> one(call, rule, size);
    const auto now = view<T>(record);
    if (one.is_strict_box()) {
      bool is_refused = false;
      const auto h = call.out<T>({size.samples, size.steps, size.width}), s = call.out<T>(h.array.shape);
      call.run([&] {
        cuda::pack_steps(call.operation(), call.stream(), size, size.width, now.h_prev, h.data());
        cuda::gru_s(call.operation(), call.stream(), size, now.r, now.q, s.data());
        is_refused = one.refuses(call, now.x.data, one.bounds.x, size, size.inputs) ||
                     one.refuses(call, h.data(), one.bounds.h, size, size.width) ||
                     one.refuses(call, s.data(), one.bounds.h, size, size.width);
      });
      using namespace py::literals;
      if (is_refused)  // raises if it meets what is refused
        py::module_::import("pyref").attr("gru_relevance")(
            on_host(given.x), on_host(given.w_x), on_host(given.w_h), given.b ? py::object(on_host(given.b)) : py::none(),
            given.b_n ? py::object(on_host(given.b_n)) : py::none(), on_host(signal.S), rule, gate_,
            "lengths"_a = given.lengths ? py::object(*given.lengths) : py::none(),
            "linear_before_reset"_a = linear_before_reset,
            "record"_a = known.record.is_none() ? py::object(py::none()) : on_host<T>(call, known.record),
            "h0"_a = known.h0 ? py::object(on_host(known.h0)) : py::none(), "reverse"_a = reverse);
    }
    const auto w = given.weights<T>(call);
    const auto time = given.time(call, record.reverse);
    const T *R_data = call.in<T>(signal.S), *last = call.in<T>(signal.last);
    const RecurrentAccount<T> kept(call, account, size, 5 * size.width, true);
    const Signals<T> out(call, size);
    call.run([&] {
      cuda::gru_relevance(call.operation(), call.stream(), size, time, now, w, R_data, last, one.compiled, gate, one.bounds,
                          kept.pointer(), out.x.data(), out.h0.data());
    });
    kept.write(out.h0);
    return out.all(call);
  });
}

py::object gru_multiplier(const py::object& x, const py::object& w_x, const py::object& w_h, const py::object& b,
                          const py::object& b_n, const py::object& x0_, const py::object& M, const py::object& product_,
                          const py::object& h0, const py::object& lengths, bool linear_before_reset, bool reverse,
                          const py::object& M_last, const py::object& record_, const py::object& record0_) {
  GRUArguments given(x, w_x, w_h, b, b_n, lengths, linear_before_reset);
  const auto& size = given.size;
  const Known known(record_, h0, reverse, size);
  const Argument x0("x0", x0_);
  const auto size0 = size_of_baseline(given, x0);
  const Known known0(record0_, h0, reverse, record0_.is_none() ? size : size0);
  const SignalArguments signal("M", M, "M_last", M_last, size);
  const auto product = choice<math::Product>("product", product_);
  auto all = arguments_of(given, known.arguments, {&given.b_n, &known.h0, &known0.h0, &x0, &signal.S, &signal.last});
  for (const auto& [name, v] : known0.arguments) all.push_back(&v);
  Call call("gru_multiplier", all);
  return call.with_widest([&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto record = known.on_device<T>(call, given, given.x), record0 = known0.on_device<T>(call, given, x0);
    const auto w = given.weights<T>(call);
    const auto time = given.time(call, record.reverse);
    const T *M_data = call.in<T>(signal.S), *last = call.in<T>(signal.last);
    const Signals<T> out(call, size);
    call.run([&] {
      cuda::gru_multiplier(call.operation(), call.stream(), size, time, view<T>(record), view<T>(record0), w, M_data, last, product,
                           out.x.data(), out.h0.data());
    });
    return out.all(call);
  });
}

}  // namespace

void bind_cuda_gru(py::module_& module) {
  def(module, "gru_forward", &gru_forward);
  def(module, "gru_gradient", &gru_gradient);
  def(module, "gru_tangent", &gru_tangent);
  def(module, "gru_relevance", &gru_relevance);
  def(module, "gru_multiplier", &gru_multiplier);
}
