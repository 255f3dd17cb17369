#include "relprop/gru.h"

#include "recurrent.h"

namespace relprop::cpu {
namespace {

using math::GRUChain;
using math::GRUUnit;

constexpr Index gates = 3;

// One step of one sample: its units, read and never written.
template <class T>
struct Row {
  Row(const GRURecord<T>& record, Index width, Index n, Index t)
      : width(width), z(record.z.at(n, t)), r(record.r.at(n, t)), u(record.u.at(n, t)), n(record.n.at(n, t)),
        q(record.q.at(n, t)), h_prev(record.h_prev.at(n, t)), h(record.h.at(n, t)) {}

  static void ask_for(const GRURecord<T>& record, Index width, Index n, Index t) {
    prefetch(record.z, gates * width, n, t);
    for (const auto* rows : {&record.r, &record.u, &record.n, &record.q, &record.h_prev, &record.h}) prefetch(*rows, width, n, t);
  }

  GRUUnit<T> unit(Index j) const {
    return {z[j], z[width + j], z[2 * width + j], r[j], u[j], n[j], q[j], h_prev[j], h[j]};
  }

  Index width;
  const T *z, *r, *u, *n, *q, *h_prev, *h;
};

// Columns [first, first + count) of weights that have three blocks.
template <class T>
Matrix<T> columns_of(const T* w, Index rows, Index width, Index first, Index count) {
  return {w + first, rows, count, gates * width};
}

// A signal's way from the end to the start; chain_of(n, t)(j) says what stands for the derivatives of a unit.
template <class Isa, class T, class ChainOf>
void walk_back(const RecurrentSize& size, const Time& time, const GRUWeights<T>& w, const T* S, const T* S_last, T* S_x, T* S_h0,
               ChainOf&& chain_of) {
  const Index width = size.width, columns = gates * width;
  const Panels<Isa, T> back_ru(columns_of(w.w.h, width, width, 0, 2 * width).flipped()),
      back_n(columns_of(w.w.h, width, width, 2 * width, width).flipped());
  for_each_group(size, columns, [&](Index first, Index count) {
    const Index rows = count * size.steps, apart = size.steps * columns;
    Buffer<T> S_z(rows * columns), S_s(count * width);
    machine::parallel(count, grain_of(size), [&](Index begin, Index end) {
      begin += first;
      end += first;
      for (Index n = begin; n < end; ++n) begin_row(S_last, n, width, S_h0 + n * width);
      for (Index k = size.steps; k-- > 0;) {
        const Index t = step_at(time, size.steps, k);
        T *to = S_z.data() + ((begin - first) * size.steps + t) * columns, *s_begin = S_s.data() + (begin - first) * width;
        T* h_begin = S_h0 + begin * width;
        for (Index n = begin; n < end; ++n) {
          T *z = to + (n - begin) * apart, *s = s_begin + (n - begin) * width, *h = S_h0 + n * width;
          if (!is_valid(time, n, t)) {  // nothing is added to what is carried through
            std::fill_n(z, columns, T(0));
            std::fill_n(s, width, T(0));
            continue;
          }
          const T* arrived = S + (n * size.steps + t) * width;
          const auto chain = chain_of(n, t);
          RELPROP_INDEPENDENT
          for (Index j = 0; j < width; ++j) {
            T zn, zu, prev;
            math::gru_chain(chain(j), h[j] + arrived[j], zn, zu, prev);
            z[width + j] = zu;
            z[2 * width + j] = zn;
            s[j] = zn;
            h[j] = prev;
          }
        }
        if (!w.linear_before_reset) back_n.multiply(to + 2 * width, apart, end - begin, s_begin, width, false);
        for (Index n = begin; n < end; ++n) {
          if (!is_valid(time, n, t)) continue;
          T *z = to + (n - begin) * apart, *s = s_begin + (n - begin) * width, *h = S_h0 + n * width;
          const auto chain = chain_of(n, t);
          const bool is_linear = w.linear_before_reset;
          RELPROP_INDEPENDENT
          for (Index j = 0; j < width; ++j) {
            T zr, q;
            math::gru_chain_reset(chain(j), s[j], zr, q);
            z[j] = zr;
            s[j] = q;
            h[j] = is_linear ? h[j] : h[j] + q;
          }
        }
        back_ru.multiply(to, apart, end - begin, h_begin, width, true);
        if (w.linear_before_reset) back_n.multiply(s_begin, width, end - begin, h_begin, width, true);
      }
    });
    product({S_z.data(), rows, columns, columns}, columns_of(w.w.x, size.inputs, width, 0, columns).flipped(),
            S_x + first * size.steps * size.inputs, size.inputs);
  });
}

// h w_h in its blocks: with linear_before_reset all three, else r and u, and that of n later.
template <class Isa, class T>
struct Forward {
  explicit Forward(const GRUWeights<T>& w, Index width)
      : at_once(columns_of(w.w.h, width, width, 0, (w.linear_before_reset ? 3 : 2) * width)) {
    if (!w.linear_before_reset) later = Panels<Isa, T>(columns_of(w.w.h, width, width, 2 * width, width));
  }
  Panels<Isa, T> at_once, later;
};

}  // namespace

template <class Isa, class T>
void for_isa::gru_forward(Isa, const RecurrentSize& size, const Time& time, const T* x, const GRUWeights<T>& w,
                          const GRUStates<T>& out) {
  const Index width = size.width, columns = gates * width;
  const Index before = time.reverse ? 1 : 0, after = 1 - before;
  const bool is_linear = w.linear_before_reset;
  const Forward<Isa, T> forward(w, width);
  const Panels<Isa, T> by_x(columns_of(w.w.x, size.inputs, width, 0, columns));
  machine::parallel(size.samples, grain_of(size), [&](Index begin, Index end) {
    Buffer<T> of_h((end - begin) * columns);
    for_each_run(time, size.steps, [&](Index first, Index count, Index k) {
      for (Index n = begin; n < end; ++n)
        by_x.multiply(x + (n * size.steps + first) * size.inputs, size.inputs, count, out.z.at(n, first), out.z.step, false);
      for (const Index last = k + count; k < last; ++k) {
        T* by_h = of_h.data();
        const Index t = step_at(time, size.steps, k);
        forward.at_once.multiply(out.h.at(begin, t + before), out.h.sample, end - begin, by_h, columns, false);
        for (Index n = begin; n < end; ++n) {
          T *z = out.z.at(n, t), *gate = out.gates.at(n, t), *from = by_h + (n - begin) * columns;
          T* q = is_linear ? out.q.at(n, t) : from + 2 * width;
          const T* h = out.h.at(n, t + before);
          if (w.w.b) {
            RELPROP_INDEPENDENT
            for (Index o = 0; o < columns; ++o) z[o] += w.w.b[o];
          }
          RELPROP_INDEPENDENT
          for (Index o = 0; o < 2 * width; ++o) z[o] += from[o];
          std::copy_n(is_linear ? from + 2 * width : h, width, q);
          if (w.b_n) {
            RELPROP_INDEPENDENT
            for (Index j = 0; j < width; ++j) q[j] += w.b_n[j];
          }
          RELPROP_INDEPENDENT
          for (Index j = 0; j < width; ++j) {
            GRUUnit<T> u{};
            u.z_r = z[j];
            u.q = q[j];
            from[2 * width + j] = math::gru_reset(u);
            gate[j] = u.r;
          }
        }
        if (!is_linear)  // r ⊙ q lies in the last block of by_h
          forward.later.multiply(by_h + 2 * width, columns, end - begin, out.z.at(begin, t) + 2 * width, out.z.sample, true);
        for (Index n = begin; n < end; ++n) {
          T *z = out.z.at(n, t), *gate = out.gates.at(n, t), *h = out.h.at(n, t + after);
          const T *h_prev = out.h.at(n, t + before), *s = by_h + (n - begin) * columns + 2 * width;
          RELPROP_INDEPENDENT
          for (Index j = 0; j < width; ++j) {
            GRUUnit<T> u{};
            z[2 * width + j] = is_linear ? z[2 * width + j] + s[j] : z[2 * width + j];
            u.z_u = z[width + j];
            u.z_n = z[2 * width + j];
            u.h_prev = h_prev[j];
            math::gru_step(u);
            gate[width + j] = u.u;
            gate[2 * width + j] = u.n;
            h[j] = u.h;
          }
          if (!is_valid(time, n, t)) std::copy_n(h_prev, width, h);
        }
      }
    });
  });
}

template <class Isa, class T>
void for_isa::gru_gradient(Isa, const RecurrentSize& size, const Time& time, const GRURecord<T>& record, const GRUWeights<T>& w,
                           const T* G, const T* G_last, T* G_x, T* G_h0) {
  walk_back<Isa>(size, time, w, G, G_last, G_x, G_h0, [&](Index n, Index t) {
    Row<T>::ask_for(record, size.width, n, step_after(time, size.steps, t));
    return [row = Row<T>(record, size.width, n, t)](Index j) { return math::gru_gradient(row.unit(j)); };
  });
}

template <class Isa, class T>
void for_isa::gru_multiplier(Isa, const RecurrentSize& size, const Time& time, const GRURecord<T>& record,
                             const GRURecord<T>& record0, const GRUWeights<T>& w, const T* M, const T* M_last,
                             math::Product product, T* M_x, T* M_h0) {
  walk_back<Isa>(size, time, w, M, M_last, M_x, M_h0, [&](Index n, Index t) {
    return [row = Row<T>(record, size.width, n, t), row0 = Row<T>(record0, size.width, n, t), product](Index j) {
      return math::gru_multiplier(row.unit(j), row0.unit(j), product);
    };
  });
}

template <class Isa, class T>
void for_isa::gru_tangent(Isa, const RecurrentSize& size, const Time& time, const GRURecord<T>& record, const GRUWeights<T>& w,
                          const T* dx, const T* dh0, T* dh, T* dh_last) {
  const Index width = size.width, columns = gates * width;
  const bool is_linear = w.linear_before_reset;
  const Forward<Isa, T> forward(w, width);
  for_each_group(size, columns, [&](Index first, Index count) {
    const Index rows = count * size.steps, apart = size.steps * columns;
    Buffer<T> changes(rows * columns), of_h(count * columns);
    product({dx + first * size.steps * size.inputs, rows, size.inputs, size.inputs},
            columns_of(w.w.x, size.inputs, width, 0, columns), changes.data(), columns);
    machine::parallel(count, grain_of(size), [&](Index begin, Index end) {
      begin += first;
      end += first;
      for (Index n = begin; n < end; ++n) begin_row(dh0, n, width, dh_last + n * width);
      T* by_h = of_h.data() + (begin - first) * columns;
      for (Index k = 0; k < size.steps; ++k) {
        const Index t = step_at(time, size.steps, k);
        T* dz_begin = changes.data() + ((begin - first) * size.steps + t) * columns;
        forward.at_once.multiply(dh_last + begin * width, width, end - begin, by_h, columns, false);
        for (Index n = begin; n < end; ++n) {
          const Row<T> row(record, width, n, t);
          const T *dz = dz_begin + (n - begin) * apart, *dh_now = dh_last + n * width;
          T* from = by_h + (n - begin) * columns;
          RELPROP_INDEPENDENT
          for (Index j = 0; j < width; ++j)
            from[2 * width + j] = math::gru_tangent_reset(row.unit(j), dz[j] + from[j], is_linear ? from[2 * width + j] : dh_now[j]);
        }
        if (!is_linear) forward.later.multiply(by_h + 2 * width, columns, end - begin, dz_begin + 2 * width, apart, true);
        for (Index n = begin; n < end; ++n) {
          const Row<T> row(record, width, n, t);
          const T *dz = dz_begin + (n - begin) * apart, *from = by_h + (n - begin) * columns;
          T *to = dh + (n * size.steps + t) * width, *dh_now = dh_last + n * width;
          if (!is_valid(time, n, t)) {
            std::fill_n(to, width, T(0));
            continue;
          }
          RELPROP_INDEPENDENT
          for (Index j = 0; j < width; ++j) {
            const T dz_n = is_linear ? dz[2 * width + j] + from[2 * width + j] : dz[2 * width + j];
            to[j] = math::gru_tangent(row.unit(j), dz[width + j] + from[width + j], dz_n, dh_now[j]);
          }
          std::copy_n(to, width, dh_now);
        }
      }
    });
  });
}

template <class Isa, class T>
void for_isa::gru_relevance(Isa isa, const RecurrentSize& size, const Time& time, const GRURecord<T>& record,
                            const GRUWeights<T>& w, const T* R, const T* R_last, const AnyRule<T>& rule, math::Gate gate,
                            const RecurrentBounds<T>& bounds, const Account<T>* account, T* R_x, T* R_h0) {
  const Index width = size.width, columns = 5 * width;  // of the account
  const bool is_linear = w.linear_before_reset, has_gates = gate != math::Gate::all;
  StepSums<T> kept(size.samples, account, columns);

  Buffer<T> s(size.samples * size.steps * width);  // r ⊙ q
  const Steps<const T> s_steps{s.data(), size.steps * width, width};
  machine::parallel(size.samples, grain_of(size), [&](Index begin, Index end) {
    for (Index n = begin; n < end; ++n)
      for (Index t = 0; t < size.steps; ++t)
        for (Index j = 0; j < width; ++j)
          s.data()[(n * size.steps + t) * width + j] = math::gru_s(record.r.at(n, t)[j], record.q.at(n, t)[j]);
  });

  const auto block = [&](const T* b, Index k) { return b ? b + k * width : nullptr; };
  StepMap<T> n_map;  // z_n = x w_xn + b + s, or … + s w_hn
  n_map.x = record.x;
  n_map.w_x = columns_of(w.w.x, size.inputs, width, 2 * width, width);
  n_map.x_bounds = bounds.x;
  n_map.y = s_steps;
  if (!is_linear) n_map.w_y = columns_of(w.w.h, width, width, 2 * width, width);
  n_map.y_bounds = bounds.h;
  n_map.b = block(w.w.b, 2);
  n_map.width = n_map.columns = width;
  n_map.z = {record.z.data + 2 * width, record.z.sample, record.z.step};
  StepMap<T> q_map;  // q = h w_hn + b_n
  q_map.y = record.h_prev;
  q_map.w_y = columns_of(w.w.h, width, width, 2 * width, width);
  q_map.y_bounds = bounds.h;
  q_map.b = w.b_n;
  q_map.width = q_map.columns = width;
  q_map.z = record.q;
  StepMap<T> ru_map;  // z_r, z_u = x w_x + h w_h + b
  ru_map.x = record.x;
  ru_map.w_x = columns_of(w.w.x, size.inputs, width, 0, 2 * width);
  ru_map.x_bounds = bounds.x;
  ru_map.y = record.h_prev;
  ru_map.w_y = columns_of(w.w.h, width, width, 0, 2 * width);
  ru_map.y_bounds = bounds.h;
  ru_map.b = w.w.b;
  ru_map.width = width;
  ru_map.columns = 2 * width;
  ru_map.z = record.z;
  const auto candidate = step_rule(isa, n_map, size.steps, rule, kept.at(2 * width));
  const auto linear = is_linear ? step_rule(isa, q_map, size.steps, rule, kept.at(3 * width)) : nullptr;
  const auto gated = has_gates ? step_rule(isa, ru_map, size.steps, rule, kept.at(0)) : nullptr;
  const Stabilizing<T> norm(rule);

  const Index elements = candidate->elements() + (linear ? linear->elements() : 0) + (gated ? gated->elements() : 0);
  for_each_group(size, elements, [&](Index first, Index count) {
    for (const auto* one : {&candidate, &linear, &gated})
      if (*one) (*one)->begin(first, count);
    Buffer<T> room(count * 6 * width);  // of a sample: R_r R_u, R_n, R_s, R_q, p
    T *R_ru = room.data(), *R_n = R_ru + count * 2 * width, *R_s = R_n + count * width, *R_q = R_s + count * width,
      *p = R_q + count * width;
    machine::parallel(count, grain_of(size), [&](Index begin, Index end) {
      begin += first;
      end += first;
      const auto skip = [&](Index n, Index t) {
        for (const auto* one : {&candidate, &linear, &gated})
          if (*one) (*one)->skip(n, t);
      };
      for (Index n = begin; n < end; ++n) begin_row(R_last, n, width, R_h0 + n * width);
      for (Index k = size.steps; k-- > 0;) {
        const Index t = step_at(time, size.steps, k), at = begin - first;
        for (Index n = begin; n < end; ++n) {
          if (!is_valid(time, n, t)) {
            skip(n, t);
            continue;
          }
          const Row<T> row(record, width, n, t);
          Row<T>::ask_for(record, width, n, step_after(time, size.steps, t));
          const T* arrived = R + (n * size.steps + t) * width;
          T *R_h = R_h0 + n * width, *to_u = R_ru + ((n - first) * 2 + 1) * width, *to_n = R_n + (n - first) * width,
            *p_row = p + (n - first) * width;
          for (Index j = 0; j < width; ++j) p_row[j] = math::gru_p(row.u[j]);
          const T e_h = norm.on(row.h, width), e_p = norm.on(p_row, width);
          const math::Stabilizer way = norm.stabilizer;
          with_gate(gate, [&](auto constant) {
            constexpr math::Gate known = decltype(constant)::value;
            if (account)
              for (Index j = 0; j < width; ++j) {
                T n_j, u_j, prev, by_one;
                math::Withheld<T> here{T(0), T(0)};
                math::gru_relevance(row.unit(j), known, e_h, e_p, way, R_h[j] + arrived[j], n_j, u_j, prev, by_one, here);
                kept.add(n, here);
                account->bias[n * columns + 4 * width + j] += by_one;
              }
            RELPROP_INDEPENDENT
            for (Index j = 0; j < width; ++j) {
              T n_j, u_j, prev, by_one;
              math::Withheld<T> here{T(0), T(0)};
              math::gru_relevance(row.unit(j), known, e_h, e_p, way, R_h[j] + arrived[j], n_j, u_j, prev, by_one, here);
              to_n[j] = n_j;
              to_u[j] = u_j;
              R_h[j] = prev;
            }
          });
          candidate->split(n, t, to_n);
        }
        candidate->carry_y(begin, end, t, R_s + at * width, false);
        for (Index n = begin; n < end; ++n) {
          if (!is_valid(time, n, t)) continue;
          const Row<T> row(record, width, n, t);
          const T* arrived = R_s + (n - first) * width;
          T *to_r = R_ru + (n - first) * 2 * width, *to_q = R_q + (n - first) * width, *R_h = R_h0 + n * width;
          with_gate(gate, [&](auto constant) {
            for (Index j = 0; j < width; ++j) {
              math::Withheld<T> here{T(0), T(0)};
              math::split_product(arrived[j], row.r[j], row.q[j], decltype(constant)::value, to_r[j], to_q[j], here);
              if (account) kept.add(n, here);
            }
          });
          if (linear)
            linear->split(n, t, to_q);
          else
            for (Index j = 0; j < width; ++j) R_h[j] += to_q[j];
          if (gated) gated->split(n, t, to_r);
        }
        if (linear) linear->carry_y(begin, end, t, R_h0 + begin * width, true);
        if (gated) gated->carry_y(begin, end, t, R_h0 + begin * width, true);
      }
    });
    candidate->carry_x(R_x, false);
    if (gated) gated->carry_x(R_x, true);
  });
  kept.write();
}

#define RELPROP_INSTANTIATE(T)                                                                                                  \
  template void for_isa::gru_forward(machine::RELPROP_ISA, const RecurrentSize&, const Time&, const T*, const GRUWeights<T>&,  \
                                     const GRUStates<T>&);                                                                     \
  template void for_isa::gru_gradient(machine::RELPROP_ISA, const RecurrentSize&, const Time&, const GRURecord<T>&,            \
                                      const GRUWeights<T>&, const T*, const T*, T*, T*);                                       \
  template void for_isa::gru_relevance(machine::RELPROP_ISA, const RecurrentSize&, const Time&, const GRURecord<T>&,           \
                                       const GRUWeights<T>&, const T*, const T*, const AnyRule<T>&, math::Gate,                \
                                       const RecurrentBounds<T>&, const Account<T>*, T*, T*);                                  \
  template void for_isa::gru_tangent(machine::RELPROP_ISA, const RecurrentSize&, const Time&, const GRURecord<T>&,             \
                                     const GRUWeights<T>&, const T*, const T*, T*, T*);                                        \
  template void for_isa::gru_multiplier(machine::RELPROP_ISA, const RecurrentSize&, const Time&, const GRURecord<T>&,          \
                                        const GRURecord<T>&, const GRUWeights<T>&, const T*, const T*, math::Product, T*, T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cpu
