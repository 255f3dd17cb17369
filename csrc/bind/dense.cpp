#include "dense.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

struct DenseKernels {
  static constexpr bool takes_one = true;

  // w as it lies in memory: a transposed view is no copy.
  struct Size : cpu::DenseSize {
    bool is_transposed;
  };
  static Size arranged(const cpu::DenseSize& size, py::array& w) {
    const bool is_transposed = !(w.flags() & py::array::c_style) && (w.flags() & py::array::f_style);
    if (is_transposed) w = w.attr("T");
    return {size, is_transposed};
  }

  template <class T>
  static void forward(const Size& size, const T* x, const T* w, const T* b, T* z) {
    cpu::dense_forward(size, x, cpu::DenseWeights<T>{w, size.is_transposed}, b, z);
  }
  template <class T>
  static void gradient(const Size& size, const T* w, const T* G, T* G_x) {
    cpu::dense_gradient(size, cpu::DenseWeights<T>{w, size.is_transposed}, G, G_x);
  }
  template <class T, class... Of>
  static void relevance(const Size& size, const T* x, const T* w, const Of&... of) {
    cpu::dense_relevance(size, x, cpu::DenseWeights<T>{w, size.is_transposed}, of...);
  }
};

}  // namespace

void bind_dense(py::module_& cpu) { Affine<LayersInHostMemory<DenseKernels>, Dense>::def_all(cpu); }
