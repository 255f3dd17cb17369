#include "cuda/gru.h"

#include "bind/gru.h"
#include "recurrent.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

struct GRUOnDevice : SequencesInDeviceMemory {
  static constexpr auto gradient = [](const Call& on, const auto&... of) { cuda::gru_gradient(on.operation(), on.stream(), of...); };
  static constexpr auto tangent = [](const Call& on, const auto&... of) { cuda::gru_tangent(on.operation(), on.stream(), of...); };
  static constexpr auto relevance = [](const Call& on, const auto&... of) { cuda::gru_relevance(on.operation(), on.stream(), of...); };
  static constexpr auto multiplier = [](const Call& on, const auto&... of) { cuda::gru_multiplier(on.operation(), on.stream(), of...); };

  // q only with linear_before_reset, else it is h before the step.
  template <class T>
  struct Computed {
    DeviceArray x, z, gates, q, h;
    Index count, width;
    bool reverse, is_linear;

    cuda::Steps<const T> at(bool later) const { return steps_of<T>(part_of(h, 1, later ? 1 : 0, count)); }
    cuda::GRURecord<T> steps() const {
      const auto gate = [&](Index k) { return steps_of<T>(part_of(gates, 2, k * width, width)); };
      return {steps_of<T>(x), steps_of<T>(z), gate(0), gate(1), gate(2), is_linear ? steps_of<T>(q) : at(reverse), at(!reverse), at(reverse)};
    }
    py::object record(const Call& call) const {
      const Whole of_x(call, x), of_z(call, z), of_gates(call, gates), of_q(call, q), of_h(call, h);
      const auto gate = [&](Index k) { return of_gates.part(2, k * width, width); };
      const auto part = [&](bool later) { return of_h.part(1, later ? 1 : 0, count); };
      using namespace py::literals;
      return py::module_::import("pyref.layers.gru")
          .attr("GRURecord")("x"_a = of_x.all(), "z"_a = of_z.all(), "r"_a = gate(0), "u"_a = gate(1), "n"_a = gate(2),
                             "q"_a = is_linear ? of_q.all() : part(reverse), "h"_a = part(!reverse), "h_prev"_a = part(reverse),
                             "reverse"_a = reverse);
    }
  };

  template <class T, class Arguments>
  static Computed<T> forward(Call& call, const Arguments& given, const Argument& x_, const std::vector<Argument>& initial, bool reverse) {
    const auto& size = given.size;
    const std::vector<Index> wide{size.samples, size.steps, GRULayer::gates * size.width};
    const auto x = masked<T>(call, given, x_), z = call.out<T>(wide), gates = call.out<T>(wide),
               q = call.out<T>({given.is_linear ? size.samples : 0, size.steps, size.width}),
               h = call.out<T>({size.samples, size.steps + 1, size.width});
    for (const auto& one : {x, z, gates, q, h}) call.hold(one.array);
    const cuda::GRUStates<T> out{writable<T>(z.array), writable<T>(gates.array), writable<T>(q.array), writable<T>(h.array)};
    const auto w = GRULayer::weights<T>(call, given);
    const auto time = given.time(call, reverse);
    const T *h0 = call.in<T>(initial[0]), *x_data = x.data();
    call.run([&] { cuda::gru_forward(call.operation(), call.stream(), size, time, x_data, w, h0, out); });
    return {x.array, z.array, gates.array, q.array, h.array, size.steps, size.width, reverse, given.is_linear};
  }
};

}  // namespace

void bind_cuda_gru(py::module_& module) { def_gru<GRUOnDevice>(module); }
