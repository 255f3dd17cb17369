#include "cuda/gru.h"

#include "cuda/dense.h"
#include "cuda/recurrent.cuh"

namespace relprop::cuda {

namespace {

using math::GRUChain;
using math::GRUUnit;

constexpr int gates = 3;

template <class T>
HD GRUUnit<T> unit_of(const GRURecord<T>& r, int width, Index n, Index t, int j) {
  const T* z = r.z.at(n, t) + j;
  return {z[0], z[width], z[2 * width], r.r.at(n, t)[j], r.u.at(n, t)[j], r.n.at(n, t)[j], r.q.at(n, t)[j], r.h_prev.at(n, t)[j],
          r.h.at(n, t)[j]};
}
template <class T>
HD void ask_for_unit(const GRURecord<T>& r, int width, Index n, Index t, int j) {
  for (int k = 0; k < gates; ++k) ask_for(r.z.at(n, t) + k * width + j);
  ask_for(r.r.at(n, t) + j);
  ask_for(r.u.at(n, t) + j);
  ask_for(r.n.at(n, t) + j);
  ask_for(r.q.at(n, t) + j);
  ask_for(r.h_prev.at(n, t) + j);
}

// With linear_before_reset a step has one product, of h; else a second one, of s = r q. Turn i is between the products of
// two steps, or within one.
struct Form : Sequence {
  bool is_linear;
  HD bool is_within(Index i) const { return !is_linear && i % 2 == 1; }
  HD Index step_of(Index i) const { return is_linear ? i : i / 2; }  // steps that begin before turn i
};

template <class T>
struct Forward : Form {
  static constexpr int groups = gates;
  GRUStates<T> out;
  const T *h0, *b_n;

  template <class P>
  HD void turn(Index i, Index n, int j, const T* sums, const P& put) const {
    const Index before = time.reverse ? 1 : 0, after = 1 - before, k = step_of(i);
    if (i == 0) {
      const T h = h0 ? h0[own(n, j)] : T(0);
      out.h.at(n, time.reverse ? size.steps : 0)[j] = h;
      return put(j, h);
    }
    const Index t = step(is_within(i) ? k : k - 1);
    T *z = out.z.at(n, t) + j, *gate = out.gates.at(n, t) + j;
    GRUUnit<T> u{};
    u.h_prev = out.h.at(n, t + before)[j];
    if (is_linear || is_within(i)) {
      u.z_r = z[0] + sums[0];
      z[0] = u.z_r;
      z[width()] = z[width()] + sums[1];
      u.q = !is_linear ? u.h_prev : b_n ? sums[2] + b_n[j] : sums[2];
      if (is_linear) out.q.at(n, t)[j] = u.q;
      const T s = math::gru_reset(u);
      gate[0] = u.r;
      if (is_within(i)) return put(j, s);
      z[2 * width()] = z[2 * width()] + s;
    } else {
      z[2 * width()] = z[2 * width()] + sums[0];
    }
    u.z_u = z[width()];
    u.z_n = z[2 * width()];
    math::gru_step(u);
    gate[width()] = u.u;
    gate[2 * width()] = u.n;
    const T h = is_valid(n, t) ? u.h : u.h_prev;
    out.h.at(n, t + after)[j] = h;
    put(j, h);
    if (k < size.steps)
      for (int g = 0; g < gates; ++g) ask_for(out.z.at(n, step(k)) + g * width() + j);
  }
};

// What stands for the derivatives of a unit.
template <class T>
struct Gradient {
  GRURecord<T> record;
  HD GRUChain<T> operator()(int width, Index n, Index t, int j) const { return math::gru_gradient(unit_of(record, width, n, t, j)); }
  HD void ask(int width, Index n, Index t, int j) const { ask_for_unit(record, width, n, t, j); }
};
template <class T>
struct Multiplier {
  GRURecord<T> record, record0;
  math::Product product;
  HD GRUChain<T> operator()(int width, Index n, Index t, int j) const {
    return math::gru_multiplier(unit_of(record, width, n, t, j), unit_of(record0, width, n, t, j), product);
  }
  HD void ask(int width, Index n, Index t, int j) const {
    ask_for_unit(record, width, n, t, j);
    ask_for_unit(record0, width, n, t, j);
  }
};

// A signal's way from the end to the start. S_h0 holds what is on its way.
template <class T, class Of>
struct Backward : Form {
  static constexpr int groups = 1;
  Of of;
  const T *S, *S_last;
  T *S_z, *S_h0;

  template <class P>
  HD void turn(Index i, Index n, int j, const T* sums, const P& put) const {
    T& h = S_h0[own(n, j)];
    const Index k = step_of(i);
    if (i == 0)
      h = S_last ? S_last[own(n, j)] : T(0);
    else if (!is_within(i) && is_valid(n, step_back(k - 1)))
      h = h + sums[0];
    if (k == size.steps) return;
    const Index t = step_back(k);
    const bool valid = is_valid(n, t);
    T* z = S_z + at(n, t) * gates * size.width + j;
    GRUChain<T> chain{};
    if (valid) chain = of(width(), n, t, j);
    T s = is_within(i) ? sums[0] : T(0);
    if (!is_within(i)) {
      T zn(0), zu(0), prev(0);
      if (valid) {
        math::gru_chain(chain, h + S[at(n, t) * size.width + j], zn, zu, prev);
        h = prev;
      }
      z[width()] = zu;
      z[2 * width()] = zn;
      if (!is_linear) return put(j, zn);
      s = zn;
    }
    T zr(0), q(0);
    if (valid) math::gru_chain_reset(chain, s, zr, q);
    z[0] = zr;
    put(j, zr);
    put(width() + j, z[width()]);
    if (is_linear)
      put(2 * width() + j, q);
    else if (valid)
      h = h + q;
    if (k + 1 == size.steps) return;
    of.ask(width(), n, step_back(k + 1), j);
    ask_for(S + at(n, step_back(k + 1)) * size.width + j);
  }
};

// dh_last holds what is on its way; changes become dz.
template <class T>
struct Tangent : Form {
  static constexpr int groups = gates;
  GRURecord<T> record;
  const T* dh0;
  T *changes, *dh, *dh_last;

  template <class P>
  HD void turn(Index i, Index n, int j, const T* sums, const P& put) const {
    T& h = dh_last[own(n, j)];
    const Index k = step_of(i);
    if (i == 0) {
      h = dh0 ? dh0[own(n, j)] : T(0);
      return put(j, h);
    }
    const Index t = step(is_within(i) ? k : k - 1);
    const auto unit = unit_of(record, width(), n, t, j);
    T* dz = changes + at(n, t) * gates * size.width + j;
    if (is_linear || is_within(i)) {
      dz[width()] = dz[width()] + sums[1];
      const T ds = math::gru_tangent_reset(unit, dz[0] + sums[0], is_linear ? sums[2] : h);
      if (is_within(i)) return put(j, ds);
      dz[2 * width()] = dz[2 * width()] + ds;
    } else {
      dz[2 * width()] = dz[2 * width()] + sums[0];
    }
    T& out = dh[at(n, t) * size.width + j];
    out = T(0);
    if (is_valid(n, t)) h = out = math::gru_tangent(unit, dz[width()], dz[2 * width()], h);
    put(j, h);
    if (k < size.steps) ask_for_unit(record, width(), n, step(k), j);
  }
};

// R_h0 holds what is on its way. `candidate` is the map to z_n, `linear` that to q with linear_before_reset, `gated` those
// to z_r and z_u where gates receive relevance. Without linear_before_reset and without gates h receives all of its
// relevance within the step, and there is no second product.
template <class T>
struct Relevance : Form {
  static constexpr int groups = most_sums;
  GRURecord<T> record;
  const T *R, *R_last;
  math::Gate gate;
  StateNorm<T> of_h, of_p;
  StepMap<T> candidate, linear, gated;
  bool has_gates, is_single;  // is_single: one product a step
  Back<T> back_s, back_h;     // of s within a step, of h between steps
  double* kept;               // two per unit, or null
  T *by_one, *R_h0, *R_u;     // of the account or null; what z_u receives, until it is handed on
  Index bias_stride;

  // R over h into R_n, which goes to z_n, R_u and h₋.
  template <class P>
  HD T begin(Index n, Index t, int j, T& h, const P& put, double* withheld) const {
    T R_n, to_u, prev, one;
    math::Withheld<T> here{T(0), T(0)};
    const Index row = at(n, t);
    math::gru_relevance(unit_of(record, width(), n, t, j), gate, of_h.on(row), of_p.on(row), of_h.stabilizer,
                        h + R[row * size.width + j], R_n, to_u, prev, one, here);
    withheld[0] += static_cast<double>(here.stabilizer);
    withheld[1] += static_cast<double>(here.dropped);
    if (by_one) by_one[n * bias_stride + j] += one;
    if (has_gates) R_u[own(n, j)] = to_u;
    h = prev;
    T shares[StepMap<T>::most_parts];
    candidate.split(n, t, j, R_n, put, kept ? withheld : nullptr, shares);
    return is_linear ? candidate.carry_element(n, t, j, shares) : T(0);
  }
  // R_s over r q.
  HD void reset(Index n, Index t, int j, T R_s, T& R_r, T& R_q, double* withheld) const {
    math::Withheld<T> here{T(0), T(0)};
    math::split_product(R_s, record.r.at(n, t)[j], record.q.at(n, t)[j], gate, R_r, R_q, here);
    withheld[1] += static_cast<double>(here.dropped);
  }
  // R_s over r q, and what follows.
  template <class P>
  HD void end(Index n, Index t, int j, T R_s, T& h, const P& put, double* withheld) const {
    T R_r, R_q, shares[StepMap<T>::most_parts];
    reset(n, t, j, R_s, R_r, R_q, withheld);
    double* const to = kept ? withheld : nullptr;
    if (is_linear)
      linear.split(n, t, j, R_q, put, to, shares);
    else
      h = h + R_q;
    if (!has_gates) return;
    gated.split(n, t, j, R_r, put, to, shares);
    gated.split(n, t, width() + j, R_u[own(n, j)], put, to, shares);
  }
  template <class P>
  HD void skip_end(Index n, Index t, int j, const P& put) const {
    if (is_linear) linear.skip(n, t, j, put);
    if (!has_gates) return;
    gated.skip(n, t, j, put);
    gated.skip(n, t, width() + j, put);
  }

  template <class P>
  HD void turn(Index i, Index n, int j, const T* sums, const P& put) const {
    T& h = R_h0[own(n, j)];
    double withheld[2] = {0, 0};
    const Index k = is_single ? i : i / 2;
    const bool within = !is_single && i % 2 == 1;
    if (i == 0) {
      h = R_last ? R_last[own(n, j)] : T(0);
    } else if (!within && is_valid(n, step_back(k - 1))) {
      const Index t = step_back(k - 1);
      T R_r, R_q;
      if (is_linear || !is_single)
        R_q = back_h.relevance(n, t, j, sums);
      else  // gates receive none
        reset(n, t, j, back_s.relevance(n, t, j, sums), R_r, R_q, withheld);
      h = h + R_q;
    }
    if (k < size.steps) {
      const Index t = step_back(k);
      const bool valid = is_valid(n, t);
      T R_s(0);
      if (within)
        R_s = back_s.relevance(n, t, j, sums);
      else if (valid)
        R_s = begin(n, t, j, h, put, withheld);
      else
        candidate.skip(n, t, j, put);
      if (is_linear || within) {
        if (valid)
          end(n, t, j, R_s, h, put, withheld);
        else
          skip_end(n, t, j, put);
      }
      if (k + 1 < size.steps) {
        ask_for_unit(record, width(), n, step_back(k + 1), j);
        ask_for(R + at(n, step_back(k + 1)) * size.width + j);
      }
    }
    if (!kept) return;
    kept[2 * own(n, j)] += withheld[0];
    kept[2 * own(n, j) + 1] += withheld[1];
  }
};

// 1 - u in every step.
template <class T>
struct Gates {
  static constexpr int count = 1;
  Index steps;
  Steps<const T> u;
  HD void operator()(Index row, int j, T* values) const { values[0] = math::gru_p(u.at(row / steps, row % steps)[j]); }
};

// h w_h and s w_hn in every step.
Walk walk_forward(const RecurrentSize& size, bool is_linear) {
  Walk walk = walk_over(size, is_linear ? 1 : 2);
  for (int k = 0; k < gates; ++k) add_sum(walk.products[is_linear || k < 2 ? 0 : 1], 0, walk.width);
  return walk;
}
template <class T>
Numbers<T> pack_forward(const char* operation, Stream stream, Walk& walk, const T* w_h) {
  Numbers<T> packed(operation, finish(walk), stream);
  const Index row = gates * Index(walk.width);
  for (int k = 0; k < gates; ++k) {
    const bool is_second = walk.stages == 2 && k == 2;
    pack_weights(operation, stream, walk, is_second ? 1 : 0, is_second ? 0 : k, 0, walk.width, Packed<T>{w_h + k * walk.width, 1, row},
                 packed.data());
  }
  return packed;
}

AffineMap input_map(const RecurrentSize& size) {
  return dense_map(size.samples * size.steps, 1, static_cast<int>(size.inputs), static_cast<int>(gates * size.width));
}

template <class T, class Of>
void walk_back(const char* operation, Stream stream, const RecurrentSize& size, const Time& time, const GRUWeights<T>& w, const Of& of,
               const T* S, const T* S_last, T* S_x, T* S_h0) {
  const int width = static_cast<int>(size.width);
  Walk walk = walk_over(size, w.linear_before_reset ? 1 : 2);
  if (w.linear_before_reset) {
    add_sum(walk.products[0], 0, gates * width);
  } else {
    add_sum(walk.products[0], 0, width);
    add_sum(walk.products[1], 0, 2 * width);
  }
  const Numbers<T> packed(operation, finish(walk), stream), S_z(operation, size.samples * size.steps * gates * width, stream);
  const Index row = gates * Index(width);
  if (w.linear_before_reset) {
    pack_weights(operation, stream, walk, 0, 0, 0, gates * width, Packed<T>{w.w.h, row, 1}, packed.data());
  } else {
    pack_weights(operation, stream, walk, 0, 0, 0, width, Packed<T>{w.w.h + 2 * width, row, 1}, packed.data());
    pack_weights(operation, stream, walk, 1, 0, 0, 2 * width, Packed<T>{w.w.h, row, 1}, packed.data());
  }
  const Backward<T, Of> task{{{size, time}, w.linear_before_reset}, of, S, S_last, S_z.data(), S_h0};
  launch_walk(operation, stream, task, walk, packed.data());
  layer_gradient(operation, stream, input_map(size), w.w.x, S_z.data(), S_x);
}

}  // namespace

template <class T>
void gru_forward(const char* operation, Stream stream, const RecurrentSize& size, const Time& time, const T* x,
                 const GRUWeights<T>& w, const T* h0, const GRUStates<T>& out) {
  Walk walk = walk_forward(size, w.linear_before_reset);
  const auto packed = pack_forward(operation, stream, walk, w.w.h);
  layer_forward(operation, stream, input_map(size), x, w.w.x, w.w.b, out.z.data);
  launch_walk(operation, stream, Forward<T>{{{size, time}, w.linear_before_reset}, out, h0, w.b_n}, walk, packed.data());
}

template <class T>
void gru_gradient(const char* operation, Stream stream, const RecurrentSize& size, const Time& time, const GRURecord<T>& record,
                  const GRUWeights<T>& w, const T* G, const T* G_last, T* G_x, T* G_h0) {
  walk_back(operation, stream, size, time, w, Gradient<T>{record}, G, G_last, G_x, G_h0);
}

template <class T>
void gru_multiplier(const char* operation, Stream stream, const RecurrentSize& size, const Time& time, const GRURecord<T>& record,
                    const GRURecord<T>& record0, const GRUWeights<T>& w, const T* M, const T* M_last, math::Product product, T* M_x,
                    T* M_h0) {
  walk_back(operation, stream, size, time, w, Multiplier<T>{record, record0, product}, M, M_last, M_x, M_h0);
}

template <class T>
void gru_tangent(const char* operation, Stream stream, const RecurrentSize& size, const Time& time, const GRURecord<T>& record,
                 const GRUWeights<T>& w, const T* dx, const T* dh0, T* dh, T* dh_last) {
  Walk walk = walk_forward(size, w.linear_before_reset);
  const auto packed = pack_forward(operation, stream, walk, w.w.h);
  const Numbers<T> changes(operation, size.samples * size.steps * gates * size.width, stream);
  layer_forward<T>(operation, stream, input_map(size), dx, w.w.x, nullptr, changes.data());
  const Tangent<T> task{{{size, time}, w.linear_before_reset}, record, dh0, changes.data(), dh, dh_last};
  launch_walk(operation, stream, task, walk, packed.data());
}

template <class T>
void gru_relevance(const char* operation, Stream stream, const RecurrentSize& size, const Time& time, const GRURecord<T>& record,
                   const GRUWeights<T>& w, const T* R, const T* R_last, const AnyRule<T>& rule, math::Gate gate,
                   const RecurrentBounds<T>& bounds, const Account<T>* account, T* R_x, T* R_h0) {
  const int width = static_cast<int>(size.width);
  const bool is_linear = w.linear_before_reset, has_gates = gate != math::Gate::all;
  const Index rows = size.samples * size.steps, columns = 5 * size.width;  // of the account
  const KeptByUnits<T> kept(operation, stream, size, account, columns);
  const auto block = [&](auto* all, int k) { return all ? all + k * width : nullptr; };
  T* const bias = account ? account->bias : nullptr;

  const Numbers<T> s(operation, rows * width, stream);  // r ⊙ q
  gru_s(operation, stream, size, record.r, record.q, s.data());

  StepLayer<T> n_layer{};  // z_n = x w_xn + b + s, or … + s w_hn
  n_layer.x = record.x.data;
  n_layer.w_x = block(w.w.x, 2);
  n_layer.w_y = is_linear ? nullptr : block(w.w.h, 2);
  n_layer.w_stride = gates * Index(width);
  n_layer.y = {s.data(), size.steps * width, width};
  n_layer.y_packed = s.data();
  n_layer.b = block(w.w.b, 2);
  n_layer.width = n_layer.columns = width;
  n_layer.z = {record.z.data + 2 * width, record.z.sample, record.z.step};
  n_layer.bias = block(bias, 2);
  n_layer.bias_stride = columns;
  StepLayer<T> q_layer{};  // q = h w_hn + b_n
  q_layer.w_y = block(w.w.h, 2);
  q_layer.w_stride = n_layer.w_stride;
  q_layer.y = record.h_prev;
  q_layer.b = w.b_n;
  q_layer.width = q_layer.columns = width;
  q_layer.z = record.q;
  q_layer.bias = block(bias, 3);
  q_layer.bias_stride = columns;
  StepLayer<T> ru_layer = n_layer;  // z_r, z_u = x w_x + h w_h + b
  ru_layer.w_x = w.w.x;
  ru_layer.w_y = w.w.h;
  ru_layer.y = record.h_prev;
  ru_layer.y_packed = nullptr;
  ru_layer.b = w.w.b;
  ru_layer.columns = 2 * width;
  ru_layer.z = record.z;
  ru_layer.bias = bias;

  // Maps that are not asked for have no samples.
  const auto only = [&](bool is_wanted) { return RecurrentSize{is_wanted ? size.samples : 0, size.steps, size.inputs, size.width}; };
  StepRelevance<T> candidate(operation, stream, size, bounds, n_layer, rule), linear(operation, stream, only(is_linear), bounds, q_layer, rule),
      gated(operation, stream, only(has_gates), bounds, ru_layer, rule);

  std::vector<StepRelevance<T>*> of_s, of_h;  // what the products of s and of h carry
  if (!is_linear) of_s.push_back(&candidate);
  if (is_linear) of_h.push_back(&linear);
  if (has_gates) of_h.push_back(&gated);
  std::vector<std::vector<StepRelevance<T>*>> products;
  for (const auto& maps : {of_s, of_h})
    if (!maps.empty()) products.push_back(maps);
  Walk walk = walk_over(size, static_cast<int>(products.size()));
  std::vector<Back<T>> backs;
  for (std::size_t stage = 0; stage < products.size(); ++stage)
    backs.push_back(StepRelevance<T>::enter(walk, static_cast<int>(stage), products[stage]));
  const Numbers<T> packed(operation, finish(walk), stream), R_u(operation, has_gates ? size.samples * width : 0, stream);
  for (std::size_t stage = 0; stage < products.size(); ++stage)
    StepRelevance<T>::pack(walk, static_cast<int>(stage), products[stage], packed.data());

  StateNorm<T> of_state = state_norm(rule), of_p = of_state;
  Numbers<T> h_squares, p_squares;
  if (of_state.stabilizer == math::Stabilizer::rms) {
    h_squares = mean_squares<T>(operation, stream, States<T>{size.steps, record.h}, rows, width);
    p_squares = mean_squares<T>(operation, stream, Gates<T>{size.steps, record.u}, rows, width);
    of_state.squares = h_squares.data();
    of_p.squares = p_squares.data();
  }
  const Relevance<T> task{{{size, time}, is_linear}, record, R, R_last, gate, of_state, of_p, candidate.map(), linear.map(),
                          gated.map(), has_gates, walk.stages == 1, backs.front(), backs.back(), kept.data(), block(bias, 4), R_h0,
                          R_u.data(), columns};
  launch_walk(operation, stream, task, walk, packed.data());
  candidate.carry_x(R_x, false);
  if (has_gates) gated.carry_x(R_x, true);
  kept.write();
}

#define RELPROP_INSTANTIATE(T)                                                                                                      \
  template void gru_forward(const char*, Stream, const RecurrentSize&, const Time&, const T*, const GRUWeights<T>&, const T*,       \
                            const GRUStates<T>&);                                                                                   \
  template void gru_gradient(const char*, Stream, const RecurrentSize&, const Time&, const GRURecord<T>&, const GRUWeights<T>&,     \
                             const T*, const T*, T*, T*);                                                                           \
  template void gru_relevance(const char*, Stream, const RecurrentSize&, const Time&, const GRURecord<T>&, const GRUWeights<T>&,    \
                              const T*, const T*, const AnyRule<T>&, math::Gate, const RecurrentBounds<T>&, const Account<T>*, T*,  \
                              T*);                                                                                                  \
  template void gru_tangent(const char*, Stream, const RecurrentSize&, const Time&, const GRURecord<T>&, const GRUWeights<T>&,      \
                            const T*, const T*, T*, T*);                                                                            \
  template void gru_multiplier(const char*, Stream, const RecurrentSize&, const Time&, const GRURecord<T>&, const GRURecord<T>&,    \
                               const GRUWeights<T>&, const T*, const T*, math::Product, T*, T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cuda
