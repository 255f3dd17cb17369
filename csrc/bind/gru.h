// The GRU, of pyref/layers/gru.py, at the door of any device.
#pragma once

#include "recurrent.h"
#include "relprop/gru.h"

namespace relprop::bind {

struct GRULayer {
  static constexpr Index gates = 3, bias_blocks = 5;
  static constexpr int states = 1;
  static constexpr const char* names[] = {"gru_forward", "gru_gradient", "gru_tangent", "gru_relevance", "gru_multiplier"};
  static constexpr std::array shown{"record.x", "record.z", "record.r", "record.u", "record.n", "record.q", "record.h", "record.h_prev"};
  template <class T>
  using Record = cpu::GRURecord<T>;
  template <class T, class Call, class Given>
  static cpu::GRUWeights<T> weights(Call& call, const Given& given) {
    return {given.template weights<T>(call), call.template in<T>(given.b_n), given.is_linear};
  }
};

template <class Door>
struct GRU {
  using Of = Recurrence<Door, GRULayer>;
  using Known = typename Of::Known;
  using Given = const py::object&;

  struct Arguments : RecurrentArguments<Door> {
    Arguments(Given x, Given w_x, Given w_h, Given b, Given b_n_, Given lengths, bool linear_before_reset)
        : RecurrentArguments<Door>(x, w_x, w_h, b, lengths, GRULayer::gates) {
      this->b_n = Door::or_none("b_n", b_n_);
      this->is_linear = linear_before_reset;
      if (this->b_n && (shape_of(this->b_n) != std::vector<Index>{this->size.width} || !linear_before_reset))
        py::module_::import("pyref.layers.gru").attr("_check_b_n")(b_n_, w_h, linear_before_reset);
    }
  };

  static Known known(const Arguments& given, Given record, Given h0, bool reverse, const cpu::RecurrentSize& size) {
    return {record, reverse, size, [&] { return Of::states(given, {{"h0", &h0}}); }};
  }

  static py::object forward(Given x, Given w_x, Given w_h, Given b, Given b_n, Given h0, Given lengths, bool linear_before_reset,
                            bool reverse) {
    const Arguments given(x, w_x, w_h, b, b_n, lengths, linear_before_reset);
    return Of::forward(given, Of::states(given, {{"h0", &h0}}), reverse);
  }
  static py::object gradient(Given x, Given w_x, Given w_h, Given b, Given b_n, Given G, Given h0, Given lengths, bool linear_before_reset,
                             bool reverse, Given G_last, Given record) {
    const Arguments given(x, w_x, w_h, b, b_n, lengths, linear_before_reset);
    return Of::gradient(given, known(given, record, h0, reverse, given.size), {given, "G", G, "G_last", G_last});
  }
  static py::object tangent(Given x, Given w_x, Given w_h, Given b, Given b_n, Given dx, Given h0, Given lengths, bool linear_before_reset,
                            bool reverse, Given dh0, Given record) {
    const Arguments given(x, w_x, w_h, b, b_n, lengths, linear_before_reset);
    return Of::tangent(given, known(given, record, h0, reverse, given.size), dx, Of::states(given, {{"dh0", &dh0}}));
  }
  static py::object relevance(Given x, Given w_x, Given w_h, Given b, Given b_n, Given R, Given rule, Given gate, Given h0, Given lengths,
                              bool linear_before_reset, bool reverse, Given R_last, Given record, Given account) {
    const Arguments given(x, w_x, w_h, b, b_n, lengths, linear_before_reset);
    using namespace py::literals;
    const py::dict more("b_n"_a = Door::in_host("b_n", b_n), "linear_before_reset"_a = linear_before_reset);
    return Of::relevance(given, known(given, record, h0, reverse, given.size), {given, "R", R, "R_last", R_last}, rule, gate, account, more);
  }
  static py::object multiplier(Given x, Given w_x, Given w_h, Given b, Given b_n, Given x0_, Given M, Given product, Given h0, Given lengths,
                               bool linear_before_reset, bool reverse, Given M_last, Given record, Given record0) {
    const Arguments given(x, w_x, w_h, b, b_n, lengths, linear_before_reset);
    const auto [x0, size0] = Of::baseline(given, x0_, record0);
    return Of::multiplier(given, known(given, record, h0, reverse, given.size), known(given, record0, h0, reverse, size0), x0,
                          {given, "M", M, "M_last", M_last}, product);
  }
};

template <class Door>
void def_gru(py::module_& module) {
  using Of = GRU<Door>;
  def(module, "gru_forward", &Of::forward);
  def(module, "gru_gradient", &Of::gradient);
  def(module, "gru_tangent", &Of::tangent);
  def(module, "gru_relevance", &Of::relevance);
  def(module, "gru_multiplier", &Of::multiplier);
}

}  // namespace relprop::bind
