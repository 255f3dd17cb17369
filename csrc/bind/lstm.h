// The LSTM, of pyref/layers/lstm.py, at the door of any device.
#pragma once

#include "recurrent.h"
#include "relprop/lstm.h"

namespace relprop::bind {

struct LSTMLayer {
  static constexpr Index gates = 4, bias_blocks = 4;
  static constexpr int states = 2;
  static constexpr const char* names[] = {"lstm_forward", "lstm_gradient", "lstm_tangent", "lstm_relevance", "lstm_multiplier"};
  static constexpr std::array shown{"record.x", "record.z", "record.c", "record.c_prev", "record.h", "record.h_prev"};
  template <class T>
  using Record = cpu::LSTMRecord<T>;
  template <class T, class Call, class Given>
  static cpu::RecurrentWeights<T> weights(Call& call, const Given& given) {
    return given.template weights<T>(call);
  }
};

template <class Door>
struct LSTM {
  using Of = Recurrence<Door, LSTMLayer>;
  using Arguments = RecurrentArguments<Door>;
  using Known = typename Of::Known;
  using Given = const py::object&;

  static auto states(const Arguments& given, Given h0, Given c0) { return Of::states(given, {{"h0", &h0}, {"c0", &c0}}); }
  static Known known(const Arguments& given, Given record, Given h0, Given c0, bool reverse, const cpu::RecurrentSize& size) {
    return {record, reverse, size, [&] { return states(given, h0, c0); }};
  }

  static py::object forward(Given x, Given w_x, Given w_h, Given b, Given h0, Given c0, Given lengths, bool reverse) {
    const Arguments given(x, w_x, w_h, b, lengths, LSTMLayer::gates);
    return Of::forward(given, states(given, h0, c0), reverse);
  }
  static py::object gradient(Given x, Given w_x, Given w_h, Given b, Given G, Given h0, Given c0, Given lengths, bool reverse, Given G_last,
                             Given record) {
    const Arguments given(x, w_x, w_h, b, lengths, LSTMLayer::gates);
    return Of::gradient(given, known(given, record, h0, c0, reverse, given.size), {given, "G", G, "G_last", G_last});
  }
  static py::object tangent(Given x, Given w_x, Given w_h, Given b, Given dx, Given h0, Given c0, Given lengths, bool reverse, Given dh0,
                            Given dc0, Given record) {
    const Arguments given(x, w_x, w_h, b, lengths, LSTMLayer::gates);
    return Of::tangent(given, known(given, record, h0, c0, reverse, given.size), dx, Of::states(given, {{"dh0", &dh0}, {"dc0", &dc0}}));
  }
  static py::object relevance(Given x, Given w_x, Given w_h, Given b, Given R, Given rule, Given gate, Given h0, Given c0, Given lengths,
                              bool reverse, Given R_last, Given record, Given account) {
    const Arguments given(x, w_x, w_h, b, lengths, LSTMLayer::gates);
    return Of::relevance(given, known(given, record, h0, c0, reverse, given.size), {given, "R", R, "R_last", R_last}, rule, gate, account, {});
  }
  static py::object multiplier(Given x, Given w_x, Given w_h, Given b, Given x0_, Given M, Given product, Given h0, Given c0,
                               Given lengths, bool reverse, Given M_last, Given record, Given record0) {
    const Arguments given(x, w_x, w_h, b, lengths, LSTMLayer::gates);
    const auto [x0, size0] = Of::baseline(given, x0_, record0);
    return Of::multiplier(given, known(given, record, h0, c0, reverse, given.size), known(given, record0, h0, c0, reverse, size0), x0,
                          {given, "M", M, "M_last", M_last}, product);
  }
};

template <class Door>
void def_lstm(py::module_& module) {
  using Of = LSTM<Door>;
  def(module, "lstm_forward", &Of::forward);
  def(module, "lstm_gradient", &Of::gradient);
  def(module, "lstm_tangent", &Of::tangent);
  def(module, "lstm_relevance", &Of::relevance);
  def(module, "lstm_multiplier", &Of::multiplier);
}

}  // namespace relprop::bind
