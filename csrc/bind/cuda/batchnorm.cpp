// Batch normalisation: a sum of one input, with a weight and a bias per channel.
#include "bind/batchnorm.h"

#include "cuda/merge.h"
#include "door.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

template <class T>
cuda::Sum<T> sum_of(const cpu::BatchNormSize& size, const T* x, const T* scale, const T* shift) {
  const int run = std::max(1, static_cast<int>(size.positions));
  cuda::Sum<T> sum{};
  sum.samples = size.samples;
  sum.size = static_cast<int>(size.channels * size.positions);
  sum.count = 1;
  sum.terms[0] = {x, {scale, run, T(0)}};
  sum.has_b = shift != nullptr;
  sum.b = {shift, run, T(0)};
  return sum;
}

struct BatchNormOnDevice : InDeviceMemory {
  template <class T>
  static void batchnorm_forward(const Call& on, const cpu::BatchNormSize& size, const T* x, const T* scale, const T* shift, T* y) {
    cuda::merge_forward(on.operation(), on.stream(), sum_of(size, x, scale, shift), y);
  }
  template <class T>
  static void batchnorm_relevance(const Call& on, const cpu::BatchNormSize& size, const T* x, const T* scale, const T* shift,
                                  const T* R, const AnyRule<T>& rule, const Bounds<T>& bounds, const T*, const Account<T>* account,
                                  T* r) {
    auto sum = sum_of(size, x, scale, shift);
    sum.terms[0].r = r;
    cuda::merge_relevance(on.operation(), on.stream(), sum, R, rule, bounds, account);
  }
};

}  // namespace

void bind_cuda_batchnorm(py::module_& module) { def_batchnorm<BatchNormOnDevice>(module); }
