#include "cuda/lstm.h"

#include "bind/lstm.h"
#include "recurrent.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

struct LSTMOnDevice : SequencesInDeviceMemory {
  static constexpr auto gradient = [](const Call& on, const auto&... of) { cuda::lstm_gradient(on.operation(), on.stream(), of...); };
  static constexpr auto tangent = [](const Call& on, const auto&... of) { cuda::lstm_tangent(on.operation(), on.stream(), of...); };
  static constexpr auto relevance = [](const Call& on, const auto&... of) { cuda::lstm_relevance(on.operation(), on.stream(), of...); };
  static constexpr auto multiplier = [](const Call& on, const auto&... of) { cuda::lstm_multiplier(on.operation(), on.stream(), of...); };

  template <class T>
  struct Computed {
    DeviceArray x, z, c, h;
    Index count;
    bool reverse;

    cuda::Steps<const T> at(const DeviceArray& states, bool later) const { return steps_of<T>(part_of(states, 1, later ? 1 : 0, count)); }
    cuda::LSTMRecord<T> steps() const {
      return {steps_of<T>(x), steps_of<T>(z), at(c, !reverse), at(c, reverse), at(h, !reverse), at(h, reverse)};
    }
    py::object record(const Call& call) const {
      const Whole of_x(call, x), of_z(call, z), of_c(call, c), of_h(call, h);
      const auto part = [&](const Whole& states, bool later) { return states.part(1, later ? 1 : 0, count); };
      using namespace py::literals;
      return py::module_::import("pyref.layers.lstm")
          .attr("LSTMRecord")("x"_a = of_x.all(), "z"_a = of_z.all(), "c"_a = part(of_c, !reverse), "c_prev"_a = part(of_c, reverse),
                              "h"_a = part(of_h, !reverse), "h_prev"_a = part(of_h, reverse), "reverse"_a = reverse);
    }
  };

  template <class T, class Arguments>
  static Computed<T> forward(Call& call, const Arguments& given, const Argument& x_, const std::vector<Argument>& initial, bool reverse) {
    const auto& size = given.size;
    const std::vector<Index> states{size.samples, size.steps + 1, size.width};
    const auto x = masked<T>(call, given, x_), z = call.out<T>({size.samples, size.steps, LSTMLayer::gates * size.width}),
               c = call.out<T>(states), h = call.out<T>(states);
    for (const auto& one : {x, z, c, h}) call.hold(one.array);
    const cuda::LSTMStates<T> out{writable<T>(z.array), writable<T>(c.array), writable<T>(h.array)};
    const auto w = given.template weights<T>(call);
    const auto time = given.time(call, reverse);
    const T *h0 = call.in<T>(initial[0]), *c0 = call.in<T>(initial[1]), *x_data = x.data();
    call.run([&] { cuda::lstm_forward(call.operation(), call.stream(), size, time, x_data, w, h0, c0, out); });
    return {x.array, z.array, c.array, h.array, size.steps, reverse};
  }
};

}  // namespace

void bind_cuda_lstm(py::module_& module) { def_lstm<LSTMOnDevice>(module); }
