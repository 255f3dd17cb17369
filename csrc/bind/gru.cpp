#include "gru.h"

#include "sequences.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

struct GRUOnHost : SequencesInHostMemory {
  static constexpr auto gradient = [](const auto&, const auto&... of) { cpu::gru_gradient(of...); };
  static constexpr auto tangent = [](const auto&, const auto&... of) { cpu::gru_tangent(of...); };
  static constexpr auto relevance = [](const auto&, const auto&... of) { cpu::gru_relevance(of...); };
  static constexpr auto multiplier = [](const auto&, const auto&... of) { cpu::gru_multiplier(of...); };

  template <class T>
  struct Computed {
    typename Rows<T>::Part x, z, r, u, n, q, h, h_prev;
    bool reverse;
    cpu::GRURecord<T> steps() const { return {x.read, z.read, r.read, u.read, n.read, q.read, h.read, h_prev.read}; }
    py::object record(HostCall&) const {
      using namespace py::literals;
      return py::module_::import("pyref.layers.gru")
          .attr("GRURecord")("x"_a = x.array, "z"_a = z.array, "r"_a = r.array, "u"_a = u.array, "n"_a = n.array, "q"_a = q.array,
                             "h"_a = h.array, "h_prev"_a = h_prev.array, "reverse"_a = reverse);
    }
  };

  template <class T, class Arguments>
  static Computed<T> forward(HostCall& call, const Arguments& given, const py::array& x_, const std::vector<py::array>& initial,
                             bool reverse) {
    constexpr Index gates = GRULayer::gates, at_gates = gates, at_h = 2 * gates, at_q = at_h + 1;
    const auto x = masked<T>(call, given, x_);
    const auto w = GRULayer::weights<T>(call, given);
    const Rows<T> all(call, given.size, given.is_linear ? at_q + 1 : at_q, reverse);
    const cpu::GRUStates<T> out{all.block(0), all.block(at_gates), given.is_linear ? all.block(at_q) : cpu::Steps<T>(),
                                all.states(at_h, call.in<T>(initial[0]))};
    const auto time = given.time(call, reverse);
    call.run([&] { cpu::gru_forward(given.size, time, static_cast<const T*>(x.data()), w, out); });
    return {part_of(x, given.size), all.steps(0, gates), all.steps(at_gates), all.steps(at_gates + 1), all.steps(at_gates + 2),
            given.is_linear ? all.steps(at_q) : all.before(at_h), all.after(at_h), all.before(at_h), reverse};
  }
};

}  // namespace

void bind_gru(py::module_& cpu) { def_gru<GRUOnHost>(cpu); }
