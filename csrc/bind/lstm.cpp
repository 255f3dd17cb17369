#include "lstm.h"

#include "sequences.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

struct LSTMOnHost : SequencesInHostMemory {
  static constexpr auto gradient = [](const auto&, const auto&... of) { cpu::lstm_gradient(of...); };
  static constexpr auto tangent = [](const auto&, const auto&... of) { cpu::lstm_tangent(of...); };
  static constexpr auto relevance = [](const auto&, const auto&... of) { cpu::lstm_relevance(of...); };
  static constexpr auto multiplier = [](const auto&, const auto&... of) { cpu::lstm_multiplier(of...); };

  template <class T>
  struct Computed {
    typename Rows<T>::Part x, z, c, c_prev, h, h_prev;
    bool reverse;
    cpu::LSTMRecord<T> steps() const { return {x.read, z.read, c.read, c_prev.read, h.read, h_prev.read}; }
    py::object record(HostCall&) const {
      using namespace py::literals;
      return py::module_::import("pyref.layers.lstm")
          .attr("LSTMRecord")("x"_a = x.array, "z"_a = z.array, "c"_a = c.array, "c_prev"_a = c_prev.array, "h"_a = h.array,
                              "h_prev"_a = h_prev.array, "reverse"_a = reverse);
    }
  };

  template <class T, class Arguments>
  static Computed<T> forward(HostCall& call, const Arguments& given, const py::array& x_, const std::vector<py::array>& initial,
                             bool reverse) {
    constexpr Index gates = LSTMLayer::gates, at_c = gates, at_h = gates + 1;
    const auto x = masked<T>(call, given, x_);
    const auto w = given.template weights<T>(call);
    const Rows<T> all(call, given.size, gates + 2, reverse);
    const cpu::LSTMStates<T> out{all.block(0), all.states(at_c, call.in<T>(initial[1])), all.states(at_h, call.in<T>(initial[0]))};
    const auto time = given.time(call, reverse);
    call.run([&] { cpu::lstm_forward(given.size, time, static_cast<const T*>(x.data()), w, out); });
    return {part_of(x, given.size), all.steps(0, gates), all.after(at_c), all.before(at_c), all.after(at_h), all.before(at_h), reverse};
  }
};

}  // namespace

void bind_lstm(py::module_& cpu) { def_lstm<LSTMOnHost>(cpu); }
