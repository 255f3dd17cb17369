#include "relprop/activation.h"

#include <algorithm>
#include <atomic>
#include <type_traits>

#include "machine/threads.h"

namespace relprop::cpu {
namespace {

constexpr Index grain = 1 << 14;

// body(f, begin, end) over ranges that cover z, in each of which the activation f is one and the same.
template <class T, class Body>
void for_each_range(const ActivationOf<T>& of, Body&& body) {
  std::visit(
      [&](const auto& activation) {
        if constexpr (std::is_same_v<std::decay_t<decltype(activation)>, math::PReLU<T>>) {
          if (of.slopes) {
            const Index planes = of.samples * of.channels, length = of.positions;
            machine::parallel(planes, std::max<Index>(1, grain / std::max<Index>(1, length)), [&](Index from, Index to) {
              for (Index plane = from; plane < to; ++plane)
                body(math::PReLU<T>{{of.slopes[plane % of.channels]}}, plane * length, (plane + 1) * length);
            });
            return;
          }
        }
        math::with_form(activation, [&](const auto& f) {
          machine::parallel(of.size(), grain, [&](Index from, Index to) { body(f, from, to); });
        });
      },
      of.activation);
}

}  // namespace

// In each loop f is a copy: what is written cannot be its fields.

template <class Isa, class T>
void for_isa::activation_forward(Isa, const ActivationOf<T>& of, const T* z, T* a) {
  for_each_range(of, [=](const auto f, Index from, Index to) {
    for (Index i = from; i < to; ++i) a[i] = f.value(z[i]);
  });
}

template <class Isa, class T>
void for_isa::activation_gradient(Isa, const ActivationOf<T>& of, const T* z, const T* G, T* G_z) {
  for_each_range(of, [=](const auto f, Index from, Index to) {
    for (Index i = from; i < to; ++i) G_z[i] = f.derivative(z[i]) * G[i];
  });
}

template <class Isa, class T>
void for_isa::activation_ratio(Isa, const ActivationOf<T>& of, const T* z, T epsilon, T* g) {
  for_each_range(of, [=](const auto f, Index from, Index to) {
    for (Index i = from; i < to; ++i) g[i] = math::activation_ratio(f, z[i], epsilon);
  });
}

template <class Isa, class T>
void for_isa::activation_has_pole(Isa, const ActivationOf<T>& of, const T* z, T epsilon, bool& answer) {
  answer = false;
  if (epsilon > 0 || std::visit([](const auto& f) { return f.zero_at_zero(); }, of.activation)) return;
  std::atomic<bool> found{false};
  machine::parallel(of.size(), grain, [&](Index from, Index to) {
    int poles = 0;
    for (Index i = from; i < to; ++i) poles += math::stabilize(z[i], epsilon, math::Stabilizer::add) == 0;
    if (poles != 0) found = true;
  });
  answer = found;
}

template <class Isa, class T>
void for_isa::activation_quotient(Isa, const ActivationOf<T>& of, const T* z, const T* z0, bool one_z0, const T* M, T* q) {
  const Index sample = one_z0 ? std::max<Index>(1, of.channels * of.positions) : std::max<Index>(1, of.size());
  for_each_range(of, [=](const auto f, Index from, Index to) {
    for (Index begin = from, end; begin < to; begin = end) {
      end = std::min(to, (begin / sample + 1) * sample);
      const T* base = z0 - (one_z0 ? begin / sample * sample : 0);
      if (M)
        for (Index i = begin; i < end; ++i) q[i] = M[i] * f.quotient(z[i], base[i]);
      else
        for (Index i = begin; i < end; ++i) q[i] = f.quotient(z[i], base[i]);
    }
  });
}

#define RELPROP_INSTANTIATE(T)                                                                                         \
  template void for_isa::activation_forward(machine::RELPROP_ISA, const ActivationOf<T>&, const T*, T*);               \
  template void for_isa::activation_gradient(machine::RELPROP_ISA, const ActivationOf<T>&, const T*, const T*, T*);    \
  template void for_isa::activation_ratio(machine::RELPROP_ISA, const ActivationOf<T>&, const T*, T, T*);              \
  template void for_isa::activation_has_pole(machine::RELPROP_ISA, const ActivationOf<T>&, const T*, T, bool&);        \
  template void for_isa::activation_quotient(machine::RELPROP_ISA, const ActivationOf<T>&, const T*, const T*, bool, const T*, \
                                            T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cpu
