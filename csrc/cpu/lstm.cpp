#include "relprop/lstm.h"

#include "recurrent.h"

namespace relprop::cpu {
namespace {

using math::LSTMSignal;
using math::LSTMUnit;

constexpr Index gates = 4;

// One step of one sample: its units, read and never written.
template <class T>
struct Row {
  Row(const LSTMRecord<T>& record, Index width, Index n, Index t)
      : width(width), z(record.z.at(n, t)), c(record.c.at(n, t)), c_prev(record.c_prev.at(n, t)) {}

  static void ask_for(const LSTMRecord<T>& record, Index width, Index n, Index t) {
    prefetch(record.z, gates * width, n, t);
    prefetch(record.c_prev, width, n, t);
  }

  HD LSTMUnit<T> unit(Index j) const {
    return math::lstm_unit(z[j], z[width + j], z[2 * width + j], z[3 * width + j], c_prev[j], c[j]);
  }

  Index width;
  const T *z, *c, *c_prev;
};

template <class T>
Matrix<T> matrix(const T* w, Index rows, Index width) {
  return {w, rows, gates * width, gates * width};
}

// Signals at the four z of a run of steps, for the samples of one thread. Samples do not begin in the same lines of a
// cache.
template <class T>
struct RunOfZ {
  RunOfZ(Index samples, Index width) : columns(gates * width), apart(most_steps * columns + 64), room(samples * apart) {}
  T* at(Index sample, Index step) const { return room.data() + sample * apart + step * columns; }

  const Index columns, apart;
  const Buffer<T> room;
};

// A signal's way from the end to the start: where the four z have received theirs it is a sum of products. step_of(n, t,
// S_h, S_c, S_z) is one step of one sample: S_h arrived at h, S_c at c; it leaves that at c₋ in S_c.
template <class Isa, class T, class StepOf>
void walk_back(const RecurrentSize& size, const Time& time, const RecurrentWeights<T>& w, const T* S, const T* S_last, T* S_x,
               T* S_h0, T* S_c0, StepOf&& step_of) {
  const Index width = size.width, columns = gates * width;
  const Panels<Isa, T> to_h(matrix(w.h, width, width).flipped()), to_x(matrix(w.x, size.inputs, width).flipped());
  const Time back{!time.reverse, time.lengths};
  machine::parallel(size.samples, grain_of(size), [&](Index begin, Index end) {
    const RunOfZ<T> S_z(end - begin, width);
    Buffer<T> before(time.lengths ? (end - begin) * width : 0);
    for (Index n = begin; n < end; ++n) {
      begin_row(S_last, n, width, S_h0 + n * width);
      std::fill_n(S_c0 + n * width, width, T(0));
    }
    for_each_run(back, size.steps, [&](Index first, Index count, Index k) {
      for (const Index last = k + count; k < last; ++k) {
        const Index t = step_at(back, size.steps, k);
        for (Index n = begin; n < end; ++n) {
          T *S_h = S_h0 + n * width, *to = S_z.at(n - begin, t - first);
          if (!is_valid(time, n, t)) {
            std::fill_n(to, columns, T(0));
            continue;
          }
          const T* arrived = S + (n * size.steps + t) * width;
          RELPROP_INDEPENDENT
          for (Index j = 0; j < width; ++j) S_h[j] += arrived[j];
          step_of(n, t, S_h, S_c0 + n * width, to);
        }
        T* S_h = time.lengths ? before.data() : S_h0 + begin * width;
        to_h.multiply(S_z.at(0, t - first), S_z.apart, end - begin, S_h, width, false);
        for (Index n = begin; n < end && time.lengths; ++n)
          if (is_valid(time, n, t)) std::copy_n(S_h + (n - begin) * width, width, S_h0 + n * width);
      }
      for (Index n = begin; n < end; ++n)
        to_x.multiply(S_z.at(n - begin, 0), columns, count, S_x + (n * size.steps + first) * size.inputs, size.inputs, false);
    });
  });
}

// What has arrived at the four z and at c₋, from the unit's signal to memory.
template <class T>
void leave(const LSTMSignal<T>& s, Index width, Index j, T* S_z, T* S_c) {
  S_z[j] = s.z_i;
  S_z[width + j] = s.z_f;
  S_z[2 * width + j] = s.z_g;
  S_z[3 * width + j] = s.z_o;
  S_c[j] = s.c_prev;
}

}  // namespace

template <class Isa, class T>
void for_isa::lstm_forward(Isa, const RecurrentSize& size, const Time& time, const T* x, const RecurrentWeights<T>& w,
                           const LSTMStates<T>& out) {
  const Index width = size.width, columns = gates * width;
  const Index before = time.reverse ? 1 : 0, after = 1 - before;
  const Panels<Isa, T> by_x(matrix(w.x, size.inputs, width)), by_h(matrix(w.h, width, width));
  machine::parallel(size.samples, grain_of(size), [&](Index begin, Index end) {
    for_each_run(time, size.steps, [&](Index first, Index count, Index k) {
      for (Index n = begin; n < end; ++n)
        by_x.multiply(x + (n * size.steps + first) * size.inputs, size.inputs, count, out.z.at(n, first), out.z.step, false);
      for (const Index last = k + count; k < last; ++k) {
        const Index t = step_at(time, size.steps, k);
        by_h.multiply(out.h.at(begin, t + before), out.h.sample, end - begin, out.z.at(begin, t), out.z.sample, true);
        for (Index n = begin; n < end; ++n) {
          T *z = out.z.at(n, t), *c = out.c.at(n, t + after), *h = out.h.at(n, t + after);
          const T *c_prev = out.c.at(n, t + before), *h_prev = out.h.at(n, t + before);
          if (w.b) {
            RELPROP_INDEPENDENT
            for (Index o = 0; o < columns; ++o) z[o] += w.b[o];
          }
          RELPROP_INDEPENDENT
          for (Index j = 0; j < width; ++j) {
            LSTMUnit<T> u = math::lstm_unit(z[j], z[width + j], z[2 * width + j], z[3 * width + j], c_prev[j], T(0));
            h[j] = math::lstm_step(u);
            c[j] = u.c;
          }
          if (is_valid(time, n, t)) continue;
          std::copy_n(h_prev, width, h);
          std::copy_n(c_prev, width, c);
        }
      }
    });
  });
}

template <class Isa, class T>
void for_isa::lstm_gradient(Isa, const RecurrentSize& size, const Time& time, const LSTMRecord<T>& record,
                            const RecurrentWeights<T>& w, const T* G, const T* G_last, T* G_x, T* G_h0, T* G_c0) {
  walk_back<Isa>(size, time, w, G, G_last, G_x, G_h0, G_c0, [&](Index n, Index t, const T* G_h, T* G_c, T* G_z) {
    const Row<T> row(record, size.width, n, t);
    Row<T>::ask_for(record, size.width, n, step_after(time, size.steps, t));
    RELPROP_INDEPENDENT
    for (Index j = 0; j < row.width; ++j) {
      LSTMSignal<T> s{G_h[j], G_c[j], T(0), T(0), T(0), T(0), T(0)};
      math::lstm_gradient(row.unit(j), s);
      leave(s, row.width, j, G_z, G_c);
    }
  });
}

template <class Isa, class T>
void for_isa::lstm_multiplier(Isa, const RecurrentSize& size, const Time& time, const LSTMRecord<T>& record,
                              const LSTMRecord<T>& record0, const RecurrentWeights<T>& w, const T* M, const T* M_last,
                              math::Product product, T* M_x, T* M_h0, T* M_c0) {
  walk_back<Isa>(size, time, w, M, M_last, M_x, M_h0, M_c0, [&](Index n, Index t, const T* M_h, T* M_c, T* M_z) {
    const Row<T> row(record, size.width, n, t), row0(record0, size.width, n, t);
    Row<T>::ask_for(record, size.width, n, step_after(time, size.steps, t));
    Row<T>::ask_for(record0, size.width, n, step_after(time, size.steps, t));
    RELPROP_INDEPENDENT
    for (Index j = 0; j < row.width; ++j) {
      LSTMSignal<T> s{M_h[j], M_c[j], T(0), T(0), T(0), T(0), T(0)};
      math::lstm_multiplier(row.unit(j), row0.unit(j), product, s);
      leave(s, row.width, j, M_z, M_c);
    }
  });
}

template <class Isa, class T>
void for_isa::lstm_tangent(Isa, const RecurrentSize& size, const Time& time, const LSTMRecord<T>& record,
                           const RecurrentWeights<T>& w, const T* dx, const T* dh0, const T* dc0, T* dh, T* dh_last, T* dc_last) {
  const Index width = size.width, columns = gates * width;
  const Panels<Isa, T> by_x(matrix(w.x, size.inputs, width)), by_h(matrix(w.h, width, width));
  machine::parallel(size.samples, grain_of(size), [&](Index begin, Index end) {
    const RunOfZ<T> changes(end - begin, width);
    for (Index n = begin; n < end; ++n) {
      begin_row(dh0, n, width, dh_last + n * width);
      begin_row(dc0, n, width, dc_last + n * width);
    }
    for_each_run(time, size.steps, [&](Index first, Index count, Index k) {
      for (Index n = begin; n < end; ++n)
        by_x.multiply(dx + (n * size.steps + first) * size.inputs, size.inputs, count, changes.at(n - begin, 0), columns, false);
      for (const Index last = k + count; k < last; ++k) {
        const Index t = step_at(time, size.steps, k);
        by_h.multiply(dh_last + begin * width, width, end - begin, changes.at(0, t - first), changes.apart, true);
        for (Index n = begin; n < end; ++n) {
          const Row<T> row(record, width, n, t);
          const T* dz = changes.at(n - begin, t - first);
          T *to = dh + (n * size.steps + t) * width, *dh_now = dh_last + n * width, *dc = dc_last + n * width;
          if (!is_valid(time, n, t)) {
            std::fill_n(to, width, T(0));
            continue;
          }
          RELPROP_INDEPENDENT
          for (Index j = 0; j < width; ++j) {
            LSTMSignal<T> d{T(0), dc[j], dz[j], dz[width + j], dz[2 * width + j], dz[3 * width + j], T(0)};
            to[j] = math::lstm_tangent(row.unit(j), d);
            dc[j] = d.c;
          }
          std::copy_n(to, width, dh_now);
        }
      }
    });
  });
}

template <class Isa, class T>
void for_isa::lstm_relevance(Isa isa, const RecurrentSize& size, const Time& time, const LSTMRecord<T>& record,
                             const RecurrentWeights<T>& w, const T* R, const T* R_last, const AnyRule<T>& rule, math::Gate gate,
                             const RecurrentBounds<T>& bounds, const Account<T>* account, T* R_x, T* R_h0, T* R_c0) {
  // Where the signals take all, the block g alone receives relevance.
  const bool is_all = gate == math::Gate::all;
  const Index width = size.width, columns = is_all ? width : gates * width, skipped = is_all ? 2 * width : 0;
  StepMap<T> map;
  map.x = record.x;
  map.w_x = {w.x + skipped, size.inputs, columns, gates * width};
  map.x_bounds = bounds.x;
  map.y = record.h_prev;
  map.w_y = {w.h + skipped, width, columns, gates * width};
  map.y_bounds = bounds.h;
  map.b = w.b ? w.b + skipped : nullptr;
  map.width = width;
  map.columns = columns;
  map.z = {record.z.data + skipped, record.z.sample, record.z.step};

  StepSums<T> kept(size.samples, account, gates * width);
  const auto linear = step_rule(isa, map, size.steps, rule, kept.at(skipped));
  const Stabilizing<T> norm(rule);
  for_each_group(size, linear->elements(), [&](Index first, Index count) {
    linear->begin(first, count);
    Buffer<T> R_z(count * gates * width), withheld(count * 2 * width), before(time.lengths ? count * width : 0);
    machine::parallel(count, grain_of(size), [&](Index begin, Index end) {
      begin += first;
      end += first;
      for (Index n = begin; n < end; ++n) {
        begin_row(R_last, n, width, R_h0 + n * width);
        std::fill_n(R_c0 + n * width, width, T(0));
      }
      for (Index k = size.steps; k-- > 0;) {
        const Index t = step_at(time, size.steps, k);
        for (Index n = begin; n < end; ++n) {
          if (!is_valid(time, n, t)) {
            linear->skip(n, t);
            continue;
          }
          const Row<T> row(record, width, n, t);
          Row<T>::ask_for(record, width, n, step_after(time, size.steps, t));
          const T *arrived = R + (n * size.steps + t) * width, *R_h = R_h0 + n * width;
          T *R_c = R_c0 + n * width, *to = R_z.data() + (n - first) * gates * width;
          T *by_stabilizer = withheld.data() + 2 * (n - first) * width, *dropped = by_stabilizer + width;
          const T e = norm.on(row.c, width);
          const math::Stabilizer way = norm.stabilizer;
          with_gate(gate, [&](auto constant) {
            constexpr math::Gate known = decltype(constant)::value;
            if (account) {
              RELPROP_INDEPENDENT
              for (Index j = 0; j < width; ++j) {
                LSTMSignal<T> s{R_h[j] + arrived[j], R_c[j], T(0), T(0), T(0), T(0), T(0)};
                math::Withheld<T> here{T(0), T(0)};
                math::lstm_relevance(row.unit(j), known, e, way, s, here);
                by_stabilizer[j] = here.stabilizer;
                dropped[j] = here.dropped;
              }
            }
            RELPROP_INDEPENDENT
            for (Index j = 0; j < width; ++j) {
              LSTMSignal<T> s{R_h[j] + arrived[j], R_c[j], T(0), T(0), T(0), T(0), T(0)};
              math::Withheld<T> here{T(0), T(0)};
              math::lstm_relevance(row.unit(j), known, e, way, s, here);
              leave(s, width, j, to, R_c);
            }
          });
          if (account) kept.add(n, by_stabilizer, dropped, width);
          linear->split(n, t, to + skipped);
        }
        T* R_h = time.lengths ? before.data() + (begin - first) * width : R_h0 + begin * width;
        linear->carry_y(begin, end, t, R_h, false);
        for (Index n = begin; n < end && time.lengths; ++n)
          if (is_valid(time, n, t)) std::copy_n(R_h + (n - begin) * width, width, R_h0 + n * width);
      }
    });
    linear->carry_x(R_x, false);
  });
  kept.write();
}

#define RELPROP_INSTANTIATE(T)                                                                                                  \
  template void for_isa::lstm_forward(machine::RELPROP_ISA, const RecurrentSize&, const Time&, const T*,                       \
                                      const RecurrentWeights<T>&, const LSTMStates<T>&);                                       \
  template void for_isa::lstm_gradient(machine::RELPROP_ISA, const RecurrentSize&, const Time&, const LSTMRecord<T>&,          \
                                       const RecurrentWeights<T>&, const T*, const T*, T*, T*, T*);                            \
  template void for_isa::lstm_relevance(machine::RELPROP_ISA, const RecurrentSize&, const Time&, const LSTMRecord<T>&,         \
                                        const RecurrentWeights<T>&, const T*, const T*, const AnyRule<T>&, math::Gate,         \
                                        const RecurrentBounds<T>&, const Account<T>*, T*, T*, T*);                             \
  template void for_isa::lstm_tangent(machine::RELPROP_ISA, const RecurrentSize&, const Time&, const LSTMRecord<T>&,           \
                                      const RecurrentWeights<T>&, const T*, const T*, const T*, T*, T*, T*);                   \
  template void for_isa::lstm_multiplier(machine::RELPROP_ISA, const RecurrentSize&, const Time&, const LSTMRecord<T>&,        \
                                         const LSTMRecord<T>&, const RecurrentWeights<T>&, const T*, const T*, math::Product,  \
                                         T*, T*, T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cpu
