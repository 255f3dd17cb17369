#include "cuda/merge.h"

#include "cuda/rule.cuh"
#include "machine/cuda/elements.cuh"

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
    z[i] = sum.has_b ? total + at(sum.b, place) : total;
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

#define RELPROP_INSTANTIATE(T)                                                                                                  \
  template void merge_forward(const char*, Stream, const Sum<T>&, T*);                                                          \
  template void merge_relevance(const char*, Stream, const Sum<T>&, const T*, const AnyRule<T>&, const Bounds<T>&,              \
                                const Account<T>*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cuda
