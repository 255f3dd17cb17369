// The LSTM and the GRU, of pyref/layers/lstm.py and pyref/layers/gru.py, at the door of any device.
#pragma once

#include <array>

#include "door.h"
#include "relprop/recurrent.h"

namespace relprop::bind {

inline py::object pyref_recurrent() { return py::module_::import("pyref.layers.recurrent"); }

// A Door takes arrays as door.h says and computes in a Call, of that shape:
//
//   Call(operation, arguments)   with_widest(f)   in<T>(array)   in_integers(array)   out<T>(shape)   give(out)   run(f)
//
// It has in_host(object), for an array of any kind, and integers(name, array); `masked` of a sequence has zeros where it is
// padding; `steps` are a sequence as kernels read it; is_inside(call, …) says whether a box takes all of a sequence, and
// takes_product whether it takes r ⊙ q of a GRU.
//
// x, w_x, w_h, b and lengths; raises pyref's words where they do not fit a layer with that many gates.
template <class Door>
struct RecurrentArguments {
  using Array = typename Door::Array;
  using Call = typename Door::Call;

  RecurrentArguments(const py::object& x_, const py::object& w_x_, const py::object& w_h_, const py::object& b_,
                     const py::object& lengths_, Index gates)
      : x(Door::array("x", x_)), w_x(Door::array("w_x", w_x_)), w_h(Door::array("w_h", w_h_)), b(Door::or_none("b", b_)) {
    const auto at_x = shape_of(x), at_w_x = shape_of(w_x), at_w_h = shape_of(w_h);
    const bool fits = at_x.size() == 3 && at_w_h.size() == 2 && at_w_x.size() == 2 && at_w_h[1] == gates * at_w_h[0] &&
                      at_w_x[0] == at_x[2] && at_w_x[1] == at_w_h[1] && at_x[1] > 0 &&
                      (!b || shape_of(b) == std::vector<Index>{at_w_h[1]});
    given_lengths = Door::in_host("lengths", lengths_);
    if (!fits || !given_lengths.is_none())
      pyref_recurrent().attr("check_parameters")(x_, w_x_, w_h_, b_, given_lengths, gates);
    if (!given_lengths.is_none()) lengths = Door::integers("lengths", py::array_t<Index, py::array::c_style | py::array::forcecast>(given_lengths));
    Door::check_sample("x", {1, at_x[2]});
    Door::check_sample("z", {1, at_w_h[1]});
    size = {at_x[0], at_x[1], at_x[2], at_w_h[0]};
  }

  cpu::Time time(Call& call, bool reverse) const { return {reverse, lengths ? call.in_integers(lengths) : nullptr}; }
  template <class T>
  cpu::RecurrentWeights<T> weights(Call& call) const {
    return {call.template in<T>(w_x), call.template in<T>(w_h), call.template in<T>(b)};
  }
  std::vector<Index> sequence() const { return {size.samples, size.steps, size.width}; }
  std::vector<Index> state() const { return {size.samples, size.width}; }

  Array x, w_x, w_h, b;
  py::object given_lengths;
  Array lengths = Door::nothing(), b_n = Door::nothing();  // b_n and the form: of a GRU
  bool is_linear = false;
  cpu::RecurrentSize size;
};

// The rule of a relevance, and the bounds of its box for x and for h.
template <class T, class Door>
struct RecurrentRule {
  RecurrentRule(typename Door::Call& call, const py::object& rule, const cpu::RecurrentSize& size) {
    compiled = any_rule<T>(rule);
    if (std::holds_alternative<math::Pass<T>>(compiled))
      throw py::value_error("rule Pass needs one input of the output's shape; give this node another rule");
    const auto* box = std::get_if<math::ZBox<T>>(&compiled);
    if (!box) return;
    is_strict_box = box->out_of_range == math::OutOfRange::raise;
    const auto numpy = py::module_::import("numpy");
    const auto spread = [&](const char* field, Index length) {
      const auto broad = numpy.attr("broadcast_to")(Door::in_host(field, rule.attr(field)), py::make_tuple(length));
      return call.template in<T>(Door::array(field, numpy.attr("array")(broad, py::dtype::of<T>())));
    };
    bounds = {{spread("low", size.inputs), spread("high", size.inputs)}, {spread("low", size.width), spread("high", size.width)}};
  }

  AnyRule<T> compiled;
  cpu::RecurrentBounds<T> bounds;
  bool is_strict_box = false;
};

// A Layer has its name, the number of gates and states, the names of what a record holds, its type `Record` for kernels, and
// weights(call, arguments). A Door of it has kernels forward, gradient, tangent, relevance and multiplier beside the above:
// forward(call, arguments, x, states, reverse) is what is Computed, with its `steps` and its record().
template <class Door, class Layer>
struct Recurrence {
  using Array = typename Door::Array;
  using Call = typename Door::Call;
  using Given = RecurrentArguments<Door>;
  static constexpr std::size_t count = Layer::shown.size();

  // States before the first step, of which None stands for zeros.
  static std::vector<Array> states(const Given& given, std::initializer_list<std::pair<const char*, const py::object*>> all) {
    std::vector<Array> made;
    for (const auto& [name, state] : all) made.push_back(Door::or_none(name, *state, given.state()));
    return made;
  }

  // f(each of the states)
  template <class F, class All>
  static void with_each(const All& all, F&& f) {
    if constexpr (Layer::states == 2)
      f(all[0], all[1]);
    else
      f(all[0]);
  }

  // The record that a signal's way back starts from, given or made.
  struct Known {
    py::object record;
    bool reverse;
    std::vector<Array> initial, sequences;

    // initial: only read where there is no record
    template <class Initial>
    Known(const py::object& record, bool reverse, const cpu::RecurrentSize& size, const Initial& make_initial)
        : record(record), reverse(reverse) {
      if (record.is_none()) {
        initial = make_initial();
        return;
      }
      this->reverse = py::cast<bool>(record.attr("reverse"));
      for (const char* shown : Layer::shown) {
        const char* field = shown + std::strlen("record.");
        const Index last = std::strcmp(field, "x") == 0 ? size.inputs : std::strcmp(field, "z") == 0 ? Layer::gates * size.width : size.width;
        sequences.push_back(Door::array(shown, record.attr(field), {size.samples, size.steps, last}));
      }
    }

    void add_to(std::vector<const Array*>& all) const {
      for (const Array& v : sequences) all.push_back(&v);
      for (const Array& v : initial) all.push_back(&v);
    }

    // As kernels read it; x is without gaps.
    template <class T>
    typename Layer::template Record<T> read(Call& call, const Given& given, const Array& x) const {
      if (record.is_none()) return Door::template forward<T>(call, given, x, initial, reverse).steps();
      std::array<cpu::Steps<const T>, count> read;
      for (std::size_t k = 0; k < count; ++k) read[k] = Door::template steps<T>(call, sequences[k], k == 0);
      return std::apply([](const auto&... each) { return typename Layer::template Record<T>{each...}; }, read);
    }
  };

  static std::vector<const Array*> all_of(const Given& given, std::initializer_list<const Known*> known,
                                          std::initializer_list<const Array*> more) {
    std::vector<const Array*> all{&given.x, &given.w_x, &given.w_h, &given.b, &given.b_n};
    for (const Known* one : known) one->add_to(all);
    all.insert(all.end(), more);
    return all;
  }

  // The signal at the outputs, and that at the last state.
  struct Signal {
    Array S, last;
    Signal(const Given& given, const char* name, const py::object& S, const char* last_name, const py::object& last)
        : S(Door::array(name, S, given.sequence())), last(Door::or_none(last_name, last, given.state())) {}
  };

  // New arrays in the shape of a sequence with so many numbers in a step, and of the states; `all` are those as Python has them.
  template <class T>
  struct Results {
    using Out = decltype(std::declval<Call&>().template out<T>(std::vector<Index>{}));
    Results(Call& call, const Given& given, Index length) : sequence(call.template out<T>({given.size.samples, given.size.steps, length})) {
      for (int k = 0; k < Layer::states; ++k) {
        states.push_back(call.template out<T>(given.state()));
        pointers.push_back(states.back().data());
      }
    }
    py::tuple all(Call& call) const {
      py::tuple made(1 + states.size());
      made[0] = call.give(sequence);
      for (std::size_t k = 0; k < states.size(); ++k) made[k + 1] = call.give(states[k]);
      return made;
    }
    Out sequence;
    std::vector<Out> states;
    std::vector<T*> pointers;
  };

  static py::object forward(const Given& given, const std::vector<Array>& initial, bool reverse) {
    auto all = all_of(given, {}, {});
    for (const Array& state : initial) all.push_back(&state);
    Call call(Layer::names[0], all);
    return call.with_widest([&](auto zero) -> py::object {
      const auto computed = Door::template forward<decltype(zero)>(call, given, given.x, initial, reverse);
      const py::object record = computed.record(call);
      if (given.given_lengths.is_none()) return py::make_tuple(record.attr("h"), record);
      return py::make_tuple(Door::without_padding(call, given, record.attr("h"), computed.steps().h), record);
    });
  }

  static py::object gradient(const Given& given, const Known& known, const Signal& signal) {
    Call call(Layer::names[1], all_of(given, {&known}, {&signal.S, &signal.last}));
    return call.with_widest([&](auto zero) -> py::object {
      using T = decltype(zero);
      const auto record = known.template read<T>(call, given, given.x);
      const auto w = Layer::template weights<T>(call, given);
      const auto time = given.time(call, known.reverse);
      const T *S = call.template in<T>(signal.S), *last = call.template in<T>(signal.last);
      const Results<T> out(call, given, given.size.inputs);
      call.run([&] {
        with_each(out.pointers, [&](auto... to) { Door::gradient(call, given.size, time, record, w, S, last, out.sequence.data(), to...); });
      });
      return out.all(call);
    });
  }

  static py::object tangent(const Given& given, const Known& known, const py::object& dx_, const std::vector<Array>& initial) {
    const Array dx = Door::array("dx", dx_, shape_of(given.x));
    auto all = all_of(given, {&known}, {&dx});
    for (const Array& state : initial) all.push_back(&state);
    Call call(Layer::names[2], all);
    return call.with_widest([&](auto zero) -> py::object {
      using T = decltype(zero);
      const auto record = known.template read<T>(call, given, given.x);
      const auto w = Layer::template weights<T>(call, given);
      const auto time = given.time(call, known.reverse);
      const T* change = Door::template masked<T>(call, given, dx).data();
      std::vector<const T*> from;
      for (const Array& state : initial) from.push_back(call.template in<T>(state));
      const Results<T> out(call, given, given.size.width);
      call.run([&] {
        with_each(from, [&](auto... start) {
          with_each(out.pointers, [&](auto... to) {
            Door::tangent(call, given.size, time, record, w, change, start..., out.sequence.data(), to...);
          });
        });
      });
      return out.all(call);
    });
  }

  // What a box refuses: pyref's function raises if it meets that.
  template <class T>
  static bool is_refused(Call& call, const Given& given, const RecurrentRule<T, Door>& one, const typename Layer::template Record<T>& record) {
    const auto& size = given.size;
    if (!one.is_strict_box) return false;
    bool refuses = !Door::is_inside(call, size, record.x, size.inputs, one.bounds.x) ||
                   !Door::is_inside(call, size, record.h_prev, size.width, one.bounds.h);
    if constexpr (Layer::states == 1) refuses = refuses || !Door::takes_product(call, size, record.r, record.q, one.bounds.h);
    return refuses;
  }

  // more: arguments that other layers have not
  static py::object relevance(const Given& given, const Known& known, const Signal& signal, const py::object& rule, const py::object& gate_,
                              const py::object& account, const py::dict& more) {
    const auto gate = choice<math::Gate>("gate", gate_);
    Call call(Layer::names[3], all_of(given, {&known}, {&signal.S, &signal.last}));
    return call.with_widest([&](auto zero) -> py::object {
      using T = decltype(zero);
      const auto record = known.template read<T>(call, given, given.x);
      const RecurrentRule<T, Door> one(call, rule, given.size);
      if (is_refused<T>(call, given, one, record)) {
        const auto or_none = [](const Array& v) { return v ? py::object(Door::on_host(v)) : py::none(); };
        py::dict all(**more);
        const char* names[] = {"x", "w_x", "w_h", "b", "R", "h0", "c0"};
        const Array* arrays[] = {&given.x, &given.w_x, &given.w_h, &given.b, &signal.S, nullptr, nullptr};
        for (std::size_t k = 0; k < known.initial.size(); ++k) arrays[5 + k] = &known.initial[k];
        for (std::size_t k = 0; k < 7; ++k)
          if (arrays[k]) all[names[k]] = or_none(*arrays[k]);
        using namespace py::literals;
        py::module_::import("pyref").attr(Layer::names[3])(
            "rule"_a = rule, "gate"_a = gate_, "lengths"_a = given.given_lengths, "reverse"_a = known.reverse,
            "record"_a = known.record.is_none() ? known.record : Door::record_on_host(known.record), **all);
      }
      const auto w = Layer::template weights<T>(call, given);
      const auto time = given.time(call, known.reverse);
      const T *S = call.template in<T>(signal.S), *last = call.template in<T>(signal.last);
      const std::vector<Index> of_bias{given.size.samples, Layer::bias_blocks * given.size.width};
      const AccountIn<T, Call> kept(call, account, of_bias, Layer::states == 1 || given.b);
      const Results<T> out(call, given, given.size.inputs);
      call.run([&] {
        with_each(out.pointers, [&](auto... to) {
          Door::relevance(call, given.size, time, record, w, S, last, one.compiled, gate, one.bounds, kept.pointer(),
                          out.sequence.data(), to...);
        });
      });
      kept.write();
      const auto parts = out.all(call);
      if (!account.is_none()) account.attr("add_state")(Layer::states == 2 ? py::object(parts[1]).attr("__add__")(parts[2]) : py::object(parts[1]));
      return parts;
    });
  }

  static py::object multiplier(const Given& given, const Known& known, const Known& known0, const Array& x0, const Signal& signal,
                               const py::object& product_) {
    const auto product = choice<math::Product>("product", product_);
    Call call(Layer::names[4], all_of(given, {&known, &known0}, {&x0, &signal.S, &signal.last}));
    return call.with_widest([&](auto zero) -> py::object {
      using T = decltype(zero);
      const auto record = known.template read<T>(call, given, given.x), record0 = known0.template read<T>(call, given, x0);
      const auto w = Layer::template weights<T>(call, given);
      const auto time = given.time(call, known.reverse);
      const T *S = call.template in<T>(signal.S), *last = call.template in<T>(signal.last);
      const Results<T> out(call, given, given.size.inputs);
      call.run([&] {
        with_each(out.pointers, [&](auto... to) {
          Door::multiplier(call, given.size, time, record, record0, w, S, last, product, out.sequence.data(), to...);
        });
      });
      return out.all(call);
    });
  }

  // x0 in the shape of x, and the size of a record of it: one sample may stand for all.
  static std::pair<Array, cpu::RecurrentSize> baseline(const Given& given, const py::object& x0_, const py::object& record0) {
    auto size = given.size;
    const Array x0 = Door::array("x0", x0_);
    if (shape_of(x0) != std::vector<Index>{1, size.steps, size.inputs})
      check_shape("x0", shape_of(x0), shape_of(given.x));
    else if (!record0.is_none())
      size.samples = 1;
    return {Door::spread(x0, shape_of(given.x)), size};
  }
};

}  // namespace relprop::bind
