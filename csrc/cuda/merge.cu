#include "cuda/merge.h"

#include "cuda/rule.cuh"
#include "machine/cuda/elements.cuh"
#include "math/merge.h"

namespace relprop::cuda {

namespace {

template <class T>
HD T at(const Runs<T>& runs, int place) {
  return runs.data ? runs.data[runs.run == 1 ? place : place / runs.run] : runs.number;
}

template <class T>
struct Forward {
  Sum<T> sum;
  T* z;
  HD void operator()(Index i) const {
    const int place = static_cast<int>(remainder(i, sum.size));
    T total(0);
    for (int k = 0; k < sum.count; ++k) total = total + at(sum.terms[k].w, place) * sum.terms[k].x[i];
    if (sum.has_b) total = total + at(sum.b, place);
    z[i] = sum.is_rectified ? math::pos(total) : total;
  }
};

// All of a rule's sums over one element of each input are a few numbers: they are formed where they are needed.
template <class T, class Of>
struct SumShares : Shares<T, Of> {
  Sum<T> sum;
  Constants<T> constants;

  HD void gather(Index sample, int place, T* z) const {
    for (int p = 0; p < Of::max_parts; ++p) {
      z[p] = T(0);
      if (p >= this->rule.parts()) continue;
      const math::Part part = this->rule.part(p);
      for (int k = 0; k < sum.count && part.input != Factor::none; ++k)
        z[p] = z[p] + input_part(part.input, sum.terms[k].x[sample * sum.size + place], place, constants) *
                          math::apply(part.weight, at(sum.terms[k].w, place), constants.gamma);
      if (sum.has_b) z[p] = z[p] + math::apply(part.bias, at(sum.b, place), constants.gamma);
    }
  }
  HD void store(Index sample, int place, const T* s) const {
    for (int k = 0; k < sum.count; ++k) {
      const Index i = sample * sum.size + place;
      const T x = sum.terms[k].x[i], w = at(sum.terms[k].w, place);
      T r(0);
      for (int p = 0; p < this->rule.parts(); ++p) {
        const math::Part part = this->rule.part(p);
        if (part.input != Factor::none)
          r = r + input_part(part.input, x, place, constants) * math::apply(part.weight, w, constants.gamma) * s[p];
      }
      sum.terms[k].r[i] = r;
    }
  }
  HD T bias_share(int place, const T* s) const {
    T share(0);
    for (int p = 0; p < this->rule.parts(); ++p)
      share = share + math::apply(this->rule.part(p).bias, at(sum.b, place), constants.gamma) * s[p];
    return share;
  }
};

// ── products and quotients: each moves its arguments and its answers once ──

template <class T>
struct Multiply {
  const T *p, *q;
  T* y;
  HD void operator()(Index i) const { y[i] = p[i] * q[i]; }
};

template <class T>
struct MultiplyGradient {
  const T *p, *q, *G;
  T *G_p, *G_q;
  HD void operator()(Index i) const { math::product_gradient(p[i], q[i], G[i], G_p[i], G_q[i]); }
};

template <class T>
struct MultiplyTangent {
  const T *p, *q, *dp, *dq;
  T* dy;
  HD void operator()(Index i) const { dy[i] = math::product_tangent(p[i], q[i], dp[i], dq[i]); }
};

template <class T>
struct MultiplyMultiplier {
  const T *p, *q, *p0, *q0, *M;
  math::Product product;
  T *M_p, *M_q;
  HD void operator()(Index i) const {
    T m_p, m_q;
    math::product_multiplier(p[i], q[i], p0[i], q0[i], product, m_p, m_q);
    M_p[i] = m_p * M[i];
    M_q[i] = m_q * M[i];
  }
};

template <class T>
struct MultiplyRelevance {
  const T *p, *q, *R;
  math::Gate gate;
  T *R_p, *R_q;
  HD T dropped(Index i) const {
    T lost;
    math::product_relevance(R[i], p[i], q[i], gate, R_p[i], R_q[i], lost);
    return lost;
  }
  HD void operator()(Index i) const { dropped(i); }
};

// The same in chunks of a sample, each of which says what it drops.
template <class T>
__global__ void dropped_kernel(const MultiplyRelevance<T> task, Index size, Index chunks, double* dropped) {
  Shared shared;
  auto scratch = shared.take<double>(split_threads / warp);
  const Index sample = blockIdx.x / chunks, first = blockIdx.x % chunks * chunk;
  double lost = 0;
  for (int i = static_cast<int>(threadIdx.x); i < chunk && first + i < size; i += split_threads)
    lost += static_cast<double>(task.dropped(sample * size + first + i));
  const double sum = block_sum<double>(lost, scratch);
  if (threadIdx.x == 0) dropped[blockIdx.x] = sum;
}

template <class T>
struct Divide {
  const T *p, *q;
  T* y;
  HD void operator()(Index i) const { y[i] = p[i] / q[i]; }
};

template <class T>
struct DivideGradient {
  const T *p, *q, *G;
  T *G_p, *G_q;
  HD void operator()(Index i) const { math::quotient_gradient(p[i], q[i], G[i], G_p[i], G_q[i]); }
};

template <class T>
struct DivideTangent {
  const T *p, *q, *dp, *dq;
  T* dy;
  HD void operator()(Index i) const { dy[i] = math::quotient_tangent(p[i], q[i], dp[i], dq[i]); }
};

template <class T>
struct Reciprocal {
  const T* q;
  T* y;
  HD void operator()(Index i) const { y[i] = math::reciprocal(q[i]); }
};

template <class T>
struct DivideMultiplier {
  const T *M, *q, *q0;
  T* M_q;
  HD void operator()(Index i) const { M_q[i] = math::reciprocal_multiplier(M[i], q[i], q0[i]); }
};

}  // namespace

template <class T>
void merge_forward(const char* operation, Stream stream, const Sum<T>& sum, T* z) {
  for_each_element(operation, stream, sum.samples * sum.size, Forward<T>{sum, z});
}

template <class T>
void merge_relevance(const char* operation, Stream stream, const Sum<T>& sum, const T* R, const AnyRule<T>& any,
                     const Bounds<T>& bounds, const Account<T>* account) {
  std::visit(
      [&](const auto& rule) {
        using Rule = std::decay_t<decltype(rule)>;
        if constexpr (Rule::max_parts > 0) {
          const SumShares<T, Rule> shares{{rule, R, sum.size, nullptr}, sum, constants_of(rule, bounds)};
          split_by_itself(operation, stream, sum.samples, shares, account);
        }
      },
      any);
}

template <class T>
void multiply_forward(const char* operation, Stream stream, Index size, const T* p, const T* q, T* y) {
  for_each_element(operation, stream, size, Multiply<T>{p, q, y});
}

template <class T>
void multiply_gradient(const char* operation, Stream stream, Index size, const T* p, const T* q, const T* G, T* G_p, T* G_q) {
  for_each_element(operation, stream, size, MultiplyGradient<T>{p, q, G, G_p, G_q});
}

template <class T>
void multiply_tangent(const char* operation, Stream stream, Index size, const T* p, const T* q, const T* dp, const T* dq, T* dy) {
  for_each_element(operation, stream, size, MultiplyTangent<T>{p, q, dp, dq, dy});
}

template <class T>
void multiply_relevance(const char* operation, Stream stream, Index samples, Index size, const T* p, const T* q, const T* R,
                        math::Gate gate, T* dropped, T* R_p, T* R_q) {
  const MultiplyRelevance<T> task{p, q, R, gate, R_p, R_q};
  if (!dropped) return for_each_element(operation, stream, samples * size, task);
  const Index chunks = (size + chunk - 1) / chunk;
  const Numbers<double> lost(operation, samples * chunks, stream);
  launch(operation, stream, {dim3(static_cast<unsigned>(samples * chunks)), dim3(split_threads), room<double>(0, split_threads / warp)},
         &dropped_kernel<T>, task, size, chunks, lost.data());
  finish<double, T>(operation, stream, lost.data(), samples, chunks, 1, 1, dropped, nullptr);
}

template <class T>
void multiply_multiplier(const char* operation, Stream stream, Index size, const T* p, const T* q, const T* p0, const T* q0,
                         const T* M, math::Product product, T* M_p, T* M_q) {
  for_each_element(operation, stream, size, MultiplyMultiplier<T>{p, q, p0, q0, M, product, M_p, M_q});
}

template <class T>
void divide_forward(const char* operation, Stream stream, Index size, const T* p, const T* q, T* y) {
  for_each_element(operation, stream, size, Divide<T>{p, q, y});
}

template <class T>
void divide_gradient(const char* operation, Stream stream, Index size, const T* p, const T* q, const T* G, T* G_p, T* G_q) {
  for_each_element(operation, stream, size, DivideGradient<T>{p, q, G, G_p, G_q});
}

template <class T>
void divide_tangent(const char* operation, Stream stream, Index size, const T* p, const T* q, const T* dp, const T* dq, T* dy) {
  for_each_element(operation, stream, size, DivideTangent<T>{p, q, dp, dq, dy});
}

template <class T>
void divide_reciprocal(const char* operation, Stream stream, Index size, const T* q, T* y) {
  for_each_element(operation, stream, size, Reciprocal<T>{q, y});
}

template <class T>
void divide_multiplier(const char* operation, Stream stream, Index size, const T* M, const T* q, const T* q0, T* M_q) {
  for_each_element(operation, stream, size, DivideMultiplier<T>{M, q, q0, M_q});
}

#define RELPROP_INSTANTIATE(T)                                                                                                  \
  template void merge_forward(const char*, Stream, const Sum<T>&, T*);                                                          \
  template void merge_relevance(const char*, Stream, const Sum<T>&, const T*, const AnyRule<T>&, const Bounds<T>&,              \
                                const Account<T>*);                                                                             \
  template void multiply_forward(const char*, Stream, Index, const T*, const T*, T*);                                           \
  template void multiply_gradient(const char*, Stream, Index, const T*, const T*, const T*, T*, T*);                            \
  template void multiply_tangent(const char*, Stream, Index, const T*, const T*, const T*, const T*, T*);                       \
  template void multiply_relevance(const char*, Stream, Index, Index, const T*, const T*, const T*, math::Gate, T*, T*, T*);    \
  template void multiply_multiplier(const char*, Stream, Index, const T*, const T*, const T*, const T*, const T*, math::Product, \
                                    T*, T*);                                                                                    \
  template void divide_forward(const char*, Stream, Index, const T*, const T*, T*);                                             \
  template void divide_gradient(const char*, Stream, Index, const T*, const T*, const T*, T*, T*);                              \
  template void divide_tangent(const char*, Stream, Index, const T*, const T*, const T*, const T*, T*);                         \
  template void divide_reciprocal(const char*, Stream, Index, const T*, T*);                                                    \
  template void divide_multiplier(const char*, Stream, Index, const T*, const T*, const T*, T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cuda
