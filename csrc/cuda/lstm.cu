#include "cuda/lstm.h"

#include "cuda/dense.h"
#include "cuda/recurrent.cuh"

namespace relprop::cuda {

namespace {

using math::LSTMSignal;
using math::LSTMUnit;

constexpr int gates = 4;

template <class T>
HD LSTMUnit<T> unit_of(const LSTMRecord<T>& r, int width, Index n, Index t, int j) {
  const T* z = r.z.at(n, t) + j;
  return math::lstm_unit(z[0], z[width], z[2 * width], z[3 * width], r.c_prev.at(n, t)[j], r.c.at(n, t)[j]);
}
template <class T>
HD void ask_for_unit(const LSTMRecord<T>& r, int width, Index n, Index t, int j) {
  for (int k = 0; k < gates; ++k) ask_for(r.z.at(n, t) + k * width + j);
  ask_for(r.c_prev.at(n, t) + j);
}

template <class T>
struct Forward : Sequence {
  static constexpr int groups = gates;
  LSTMStates<T> out;
  const T *h0, *c0;

  template <class P>
  HD void turn(Index i, Index n, int j, const T* sums, const P& put) const {
    const Index before = time.reverse ? 1 : 0, after = 1 - before;
    if (i == 0) {
      const Index first = time.reverse ? size.steps : 0;
      const T h = h0 ? h0[own(n, j)] : T(0);
      out.c.at(n, first)[j] = c0 ? c0[own(n, j)] : T(0);
      out.h.at(n, first)[j] = h;
      return put(j, h);
    }
    const Index t = step(i - 1);
    T* z = out.z.at(n, t) + j;
    const T c_prev = out.c.at(n, t + before)[j];
    T z_now[gates];
    for (int k = 0; k < gates; ++k) z_now[k] = z[k * width()] = z[k * width()] + sums[k];
    LSTMUnit<T> u = math::lstm_unit(z_now[0], z_now[1], z_now[2], z_now[3], c_prev, T(0));
    T h = math::lstm_step(u);
    if (!is_valid(n, t)) {
      h = out.h.at(n, t + before)[j];
      u.c = c_prev;
    }
    out.h.at(n, t + after)[j] = h;
    out.c.at(n, t + after)[j] = u.c;
    put(j, h);
    if (i < size.steps)
      for (int k = 0; k < gates; ++k) ask_for(out.z.at(n, step(i)) + k * width() + j);
  }
};

// What is done at a unit on a signal's way back.
template <class T>
struct Gradient {
  LSTMRecord<T> record;
  HD void operator()(int width, Index n, Index t, int j, LSTMSignal<T>& s) const {
    math::lstm_gradient(unit_of(record, width, n, t, j), s);
  }
  HD void ask(int width, Index n, Index t, int j) const { ask_for_unit(record, width, n, t, j); }
};
template <class T>
struct Multiplier {
  LSTMRecord<T> record, record0;
  math::Product product;
  HD void operator()(int width, Index n, Index t, int j, LSTMSignal<T>& s) const {
    math::lstm_multiplier(unit_of(record, width, n, t, j), unit_of(record0, width, n, t, j), product, s);
  }
  HD void ask(int width, Index n, Index t, int j) const {
    ask_for_unit(record, width, n, t, j);
    ask_for_unit(record0, width, n, t, j);
  }
};

// A signal's way from the end to the start. S_h0 and S_c0 hold what is on its way.
template <class T, class Of>
struct Backward : Sequence {
  static constexpr int groups = 1;
  Of of;
  const T *S, *S_last;
  T *S_z, *S_h0, *S_c0;

  template <class P>
  HD void turn(Index i, Index n, int j, const T* sums, const P& put) const {
    T &h = S_h0[own(n, j)], &c = S_c0[own(n, j)];
    if (i == 0) {
      h = S_last ? S_last[own(n, j)] : T(0);
      c = T(0);
    } else if (is_valid(n, step_back(i - 1))) {
      h = sums[0];
    }
    if (i == size.steps) return;
    const Index t = step_back(i);
    LSTMSignal<T> s{};
    if (is_valid(n, t)) {
      s.h = h + S[at(n, t) * size.width + j];
      s.c = c;
      of(width(), n, t, j, s);
      c = s.c_prev;
    }
    const T z_now[gates] = {s.z_i, s.z_f, s.z_g, s.z_o};
    T* z = S_z + at(n, t) * gates * size.width + j;
    for (int k = 0; k < gates; ++k) {
      z[k * width()] = z_now[k];
      put(k * width() + j, z_now[k]);
    }
    if (i + 1 == size.steps) return;
    of.ask(width(), n, step_back(i + 1), j);
    ask_for(S + at(n, step_back(i + 1)) * size.width + j);
  }
};

// dh_last and dc_last hold what is on its way.
template <class T>
struct Tangent : Sequence {
  static constexpr int groups = gates;
  LSTMRecord<T> record;
  const T *changes, *dh0, *dc0;
  T *dh, *dh_last, *dc_last;

  template <class P>
  HD void turn(Index i, Index n, int j, const T* sums, const P& put) const {
    T &h = dh_last[own(n, j)], &c = dc_last[own(n, j)];
    if (i == 0) {
      h = dh0 ? dh0[own(n, j)] : T(0);
      c = dc0 ? dc0[own(n, j)] : T(0);
      return put(j, h);
    }
    const Index t = step(i - 1);
    T& out = dh[at(n, t) * size.width + j];
    out = T(0);
    if (is_valid(n, t)) {
      const T* dz = changes + at(n, t) * gates * size.width + j;
      LSTMSignal<T> d{};
      d.c = c;
      d.z_i = dz[0] + sums[0];
      d.z_f = dz[width()] + sums[1];
      d.z_g = dz[2 * width()] + sums[2];
      d.z_o = dz[3 * width()] + sums[3];
      h = out = math::lstm_tangent(unit_of(record, width(), n, t, j), d);
      c = d.c;
    }
    put(j, h);
    if (i < size.steps) ask_for_unit(record, width(), n, step(i), j);
  }
};

// R_h0 and R_c0 hold what is on its way.
template <class T>
struct Relevance : Sequence {
  static constexpr int groups = most_sums;
  LSTMRecord<T> record;
  const T *R, *R_last;
  math::Gate gate;
  StateNorm<T> norm;  // of c
  StepMap<T> linear;  // of the blocks that receive relevance
  Back<T> back;
  double* kept;  // two per unit, or null
  T *R_h0, *R_c0;

  template <class P>
  HD void turn(Index i, Index n, int j, const T* sums, const P& put) const {
    T &h = R_h0[own(n, j)], &c = R_c0[own(n, j)];
    if (i == 0) {
      h = R_last ? R_last[own(n, j)] : T(0);
      c = T(0);
    } else if (is_valid(n, step_back(i - 1))) {
      h = back.relevance(n, step_back(i - 1), j, sums);
    }
    if (i == size.steps) return;
    const Index t = step_back(i);
    const int blocks = gate == math::Gate::all ? 1 : gates;
    if (is_valid(n, t)) {
      LSTMSignal<T> s{};
      s.h = h + R[at(n, t) * size.width + j];
      s.c = c;
      math::Withheld<T> here{T(0), T(0)};
      math::lstm_relevance(unit_of(record, width(), n, t, j), gate, norm.on(at(n, t)), norm.stabilizer, s, here);
      c = s.c_prev;
      const T z_now[gates] = {s.z_i, s.z_f, s.z_g, s.z_o};
      double withheld[2] = {static_cast<double>(here.stabilizer), static_cast<double>(here.dropped)};
      for (int k = 0; k < blocks; ++k) {
        T shares[StepMap<T>::most_parts];
        linear.split(n, t, k * width() + j, blocks == 1 ? s.z_g : z_now[k], put, kept ? withheld : nullptr, shares);
      }
      if (kept) {
        kept[2 * own(n, j)] += withheld[0];
        kept[2 * own(n, j) + 1] += withheld[1];
      }
    } else {
      for (int k = 0; k < blocks; ++k) linear.skip(n, t, k * width() + j, put);
    }
    if (i + 1 == size.steps) return;
    ask_for_unit(record, width(), n, step_back(i + 1), j);
    ask_for(R + at(n, step_back(i + 1)) * size.width + j);
  }
};

// h w_h in every step: four sums over all units.
Walk walk_forward(const RecurrentSize& size) {
  const int width = static_cast<int>(size.width);
  Walk walk = walk_over(size, 1);
  for (int k = 0; k < gates; ++k) add_sum(walk.products[0], 0, width);
  return walk;
}
template <class T>
Numbers<T> pack_forward(const char* operation, Stream stream, Walk& walk, const T* w_h) {
  Numbers<T> packed(operation, finish(walk), stream);
  const Index row = gates * Index(walk.width);
  for (int k = 0; k < gates; ++k)
    pack_weights(operation, stream, walk, 0, k, 0, walk.width, Packed<T>{w_h + k * walk.width, 1, row}, packed.data());
  return packed;
}

AffineMap input_map(const RecurrentSize& size) {
  return dense_map(size.samples * size.steps, 1, static_cast<int>(size.inputs), static_cast<int>(gates * size.width));
}

template <class T, class Of>
void walk_back(const char* operation, Stream stream, const RecurrentSize& size, const Time& time, const RecurrentWeights<T>& w,
               const Of& of, const T* S, const T* S_last, T* S_x, T* S_h0, T* S_c0) {
  const int width = static_cast<int>(size.width);
  Walk walk = walk_over(size, 1);
  add_sum(walk.products[0], 0, gates * width);
  const Numbers<T> packed(operation, finish(walk), stream), S_z(operation, size.samples * size.steps * gates * width, stream);
  pack_weights(operation, stream, walk, 0, 0, 0, gates * width, Packed<T>{w.h, gates * Index(width), 1}, packed.data());
  const Backward<T, Of> task{{size, time}, of, S, S_last, S_z.data(), S_h0, S_c0};
  launch_walk(operation, stream, task, walk, packed.data());
  layer_gradient(operation, stream, input_map(size), w.x, S_z.data(), S_x);
}

}  // namespace

template <class T>
void lstm_forward(const char* operation, Stream stream, const RecurrentSize& size, const Time& time, const T* x,
                  const RecurrentWeights<T>& w, const T* h0, const T* c0, const LSTMStates<T>& out) {
  Walk walk = walk_forward(size);
  const auto packed = pack_forward(operation, stream, walk, w.h);
  layer_forward(operation, stream, input_map(size), x, w.x, w.b, out.z.data);
  launch_walk(operation, stream, Forward<T>{{size, time}, out, h0, c0}, walk, packed.data());
}

template <class T>
void lstm_gradient(const char* operation, Stream stream, const RecurrentSize& size, const Time& time, const LSTMRecord<T>& record,
                   const RecurrentWeights<T>& w, const T* G, const T* G_last, T* G_x, T* G_h0, T* G_c0) {
  walk_back(operation, stream, size, time, w, Gradient<T>{record}, G, G_last, G_x, G_h0, G_c0);
}

template <class T>
void lstm_multiplier(const char* operation, Stream stream, const RecurrentSize& size, const Time& time, const LSTMRecord<T>& record,
                     const LSTMRecord<T>& record0, const RecurrentWeights<T>& w, const T* M, const T* M_last, math::Product product,
                     T* M_x, T* M_h0, T* M_c0) {
  walk_back(operation, stream, size, time, w, Multiplier<T>{record, record0, product}, M, M_last, M_x, M_h0, M_c0);
}

template <class T>
void lstm_tangent(const char* operation, Stream stream, const RecurrentSize& size, const Time& time, const LSTMRecord<T>& record,
                  const RecurrentWeights<T>& w, const T* dx, const T* dh0, const T* dc0, T* dh, T* dh_last, T* dc_last) {
  Walk walk = walk_forward(size);
  const auto packed = pack_forward(operation, stream, walk, w.h);
  const Numbers<T> changes(operation, size.samples * size.steps * gates * size.width, stream);
  layer_forward<T>(operation, stream, input_map(size), dx, w.x, nullptr, changes.data());
  const Tangent<T> task{{size, time}, record, changes.data(), dh0, dc0, dh, dh_last, dc_last};
  launch_walk(operation, stream, task, walk, packed.data());
}

template <class T>
void lstm_relevance(const char* operation, Stream stream, const RecurrentSize& size, const Time& time, const LSTMRecord<T>& record,
                    const RecurrentWeights<T>& w, const T* R, const T* R_last, const AnyRule<T>& rule, math::Gate gate,
                    const RecurrentBounds<T>& bounds, const Account<T>* account, T* R_x, T* R_h0, T* R_c0) {
  // Where the signals take all, the block g alone receives relevance.
  const bool is_all = gate == math::Gate::all;
  const int width = static_cast<int>(size.width), skipped = is_all ? 2 * width : 0;
  const KeptByUnits<T> kept(operation, stream, size, account, gates * size.width);
  StepLayer<T> layer{};
  layer.x = record.x.data;
  layer.w_x = w.x ? w.x + skipped : nullptr;
  layer.w_y = w.h ? w.h + skipped : nullptr;
  layer.w_stride = gates * size.width;
  layer.y = record.h_prev;
  layer.b = w.b ? w.b + skipped : nullptr;
  layer.width = width;
  layer.columns = is_all ? width : gates * width;
  layer.z = {record.z.data + skipped, record.z.sample, record.z.step};
  layer.bias = account && account->bias ? account->bias + skipped : nullptr;
  layer.bias_stride = gates * size.width;
  StepRelevance<T> linear(operation, stream, size, bounds, layer, rule);

  Walk walk = walk_over(size, 1);
  const auto back = StepRelevance<T>::enter(walk, 0, {&linear});
  const Numbers<T> packed(operation, finish(walk), stream);
  StepRelevance<T>::pack(walk, 0, {&linear}, packed.data());
  StateNorm<T> norm = state_norm(rule);
  Numbers<T> squares;
  if (norm.stabilizer == math::Stabilizer::rms) {
    squares = mean_squares<T>(operation, stream, States<T>{size.steps, record.c}, size.samples * size.steps, width);
    norm.squares = squares.data();
  }
  const Relevance<T> task{{size, time}, record, R, R_last, gate, norm, linear.map(), back, kept.data(), R_h0, R_c0};
  launch_walk(operation, stream, task, walk, packed.data());
  linear.carry_x(R_x, false);
  kept.write();
}

#define RELPROP_INSTANTIATE(T)                                                                                                     \
  template void lstm_forward(const char*, Stream, const RecurrentSize&, const Time&, const T*, const RecurrentWeights<T>&,         \
                             const T*, const T*, const LSTMStates<T>&);                                                            \
  template void lstm_gradient(const char*, Stream, const RecurrentSize&, const Time&, const LSTMRecord<T>&,                        \
                              const RecurrentWeights<T>&, const T*, const T*, T*, T*, T*);                                         \
  template void lstm_relevance(const char*, Stream, const RecurrentSize&, const Time&, const LSTMRecord<T>&,                       \
                               const RecurrentWeights<T>&, const T*, const T*, const AnyRule<T>&, math::Gate,                      \
                               const RecurrentBounds<T>&, const Account<T>*, T*, T*, T*);                                          \
  template void lstm_tangent(const char*, Stream, const RecurrentSize&, const Time&, const LSTMRecord<T>&,                         \
                             const RecurrentWeights<T>&, const T*, const T*, const T*, T*, T*, T*);                                \
  template void lstm_multiplier(const char*, Stream, const RecurrentSize&, const Time&, const LSTMRecord<T>&,                      \
                                const LSTMRecord<T>&, const RecurrentWeights<T>&, const T*, const T*, math::Product, T*, T*, T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cuda
