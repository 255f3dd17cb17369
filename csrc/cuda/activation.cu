#include "cuda/activation.h"

#include <type_traits>

#include "machine/cuda/elements.cuh"

namespace relprop::cuda {

namespace {

// The activation of element i: the same for all, but for PReLU with a slope per channel.
template <class T, class F>
struct At {
  F f;
  At(const F& f, const ActivationOf<T>&) : f(f) {}
  HD const F& operator()(Index) const { return f; }
};
template <class T>
struct At<T, math::PReLU<T>> {
  math::PReLU<T> f;
  const T* slopes;
  Index channels, positions;
  At(const math::PReLU<T>& f, const ActivationOf<T>& of) : f(f), slopes(of.slopes), channels(of.channels), positions(of.positions) {}
  HD math::PReLU<T> operator()(Index i) const { return slopes ? math::PReLU<T>{{slopes[remainder(quotient(i, positions), channels)]}} : f; }
};

template <class T, class F>
struct Forward {
  At<T, F> at;
  const T* z;
  T* a;
  HD void operator()(Index i) const { a[i] = at(i).value(z[i]); }
};

template <class T, class F>
struct Gradient {
  At<T, F> at;
  const T *z, *G;
  T* G_z;
  HD void operator()(Index i) const { G_z[i] = at(i).derivative(z[i]) * G[i]; }
};

template <class T, class F>
struct Ratio {
  At<T, F> at;
  const T* z;
  T epsilon;
  T* g;
  HD void operator()(Index i) const { g[i] = math::activation_ratio(at(i), z[i], epsilon); }
};

template <class T, class F>
struct Quotient {
  At<T, F> at;
  const T *z, *z0;
  Index sample;  // elements of one that shares its z0 with the others; 0 where each has its own
  const T* M;    // or null
  T* q;
  HD void operator()(Index i) const {
    const T of_one = at(i).quotient(z[i], z0[sample ? remainder(i, sample) : i]);
    q[i] = M ? M[i] * of_one : of_one;
  }
};

// Every thread that finds a pole writes the same number.
template <class T>
struct Pole {
  const T* z;
  T epsilon;
  int* found;
  HD void operator()(Index i) const {
    if (math::stabilize(z[i], epsilon, math::Stabilizer::add) == 0) *found = 1;
  }
};

// make(at) is what runs over the elements.
template <class T, class Make>
void run(const char* operation, Stream stream, const ActivationOf<T>& of, Make&& make) {
  std::visit(
      [&](const auto& activation) {
        math::with_form(activation, [&](const auto& f) {
          for_each_element(operation, stream, of.size(), make(At<T, std::decay_t<decltype(f)>>(f, of)));
        });
      },
      of.activation);
}

}  // namespace

template <class T>
void activation_forward(const char* operation, Stream stream, const ActivationOf<T>& of, const T* z, T* a) {
  run(operation, stream, of, [=](const auto& at) { return Forward<T, std::decay_t<decltype(at.f)>>{at, z, a}; });
}

template <class T>
void activation_gradient(const char* operation, Stream stream, const ActivationOf<T>& of, const T* z, const T* G, T* G_z) {
  run(operation, stream, of, [=](const auto& at) { return Gradient<T, std::decay_t<decltype(at.f)>>{at, z, G, G_z}; });
}

template <class T>
void activation_ratio(const char* operation, Stream stream, const ActivationOf<T>& of, const T* z, T epsilon, T* g) {
  run(operation, stream, of, [=](const auto& at) { return Ratio<T, std::decay_t<decltype(at.f)>>{at, z, epsilon, g}; });
}

template <class T>
bool activation_has_pole(const char* operation, Stream stream, const ActivationOf<T>& of, const T* z, T epsilon) {
  if (epsilon > 0 || std::visit([](const auto& f) { return f.zero_at_zero(); }, of.activation)) return false;
  Numbers<int> found(operation, 1, stream);
  clear(operation, found.data(), sizeof(int), stream);
  for_each_element(operation, stream, of.size(), Pole<T>{z, epsilon, found.data()});
  int answer = 0;
  download(operation, &answer, found.data(), sizeof answer, stream);
  return answer != 0;
}

template <class T>
void activation_quotient(const char* operation, Stream stream, const ActivationOf<T>& of, const T* z, const T* z0, bool one_z0, const T* M,
                         T* q) {
  const Index sample = one_z0 ? of.channels * of.positions : 0;
  run(operation, stream, of, [=](const auto& at) { return Quotient<T, std::decay_t<decltype(at.f)>>{at, z, z0, sample, M, q}; });
}

#define RELPROP_INSTANTIATE(T)                                                                                    \
  template void activation_forward(const char*, Stream, const ActivationOf<T>&, const T*, T*);                    \
  template void activation_gradient(const char*, Stream, const ActivationOf<T>&, const T*, const T*, T*);         \
  template void activation_ratio(const char*, Stream, const ActivationOf<T>&, const T*, T, T*);                   \
  template bool activation_has_pole(const char*, Stream, const ActivationOf<T>&, const T*, T);                    \
  template void activation_quotient(const char*, Stream, const ActivationOf<T>&, const T*, const T*, bool, const T*, T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cuda
