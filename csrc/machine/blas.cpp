#include "machine/blas.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "machine/threads.h"

#ifdef RELPROP_OPENBLAS64  // the wheel scipy-openblas64: 64-bit integers, decorated names
#define CBLAS(name) scipy_cblas_##name##64_
using blas_int = relprop::Index;
extern "C" int scipy_openblas_get_num_threads64_(void);
extern "C" void scipy_openblas_set_num_threads64_(int);
#else  // any other that CMake found, with 32-bit integers
#define CBLAS(name) cblas_##name
using blas_int = int;
#endif

extern "C" {
void CBLAS(sgemm)(int order, int ta, int tb, blas_int m, blas_int n, blas_int k, float alpha, const float* a, blas_int lda,
                  const float* b, blas_int ldb, float beta, float* c, blas_int ldc);
void CBLAS(dgemm)(int order, int ta, int tb, blas_int m, blas_int n, blas_int k, double alpha, const double* a, blas_int lda,
                  const double* b, blas_int ldb, double beta, double* c, blas_int ldc);
void CBLAS(sgemv)(int order, int ta, blas_int m, blas_int n, float alpha, const float* a, blas_int lda, const float* x,
                  blas_int incx, float beta, float* y, blas_int incy);
void CBLAS(dgemv)(int order, int ta, blas_int m, blas_int n, double alpha, const double* a, blas_int lda, const double* x,
                  blas_int incx, double beta, double* y, blas_int incy);
}

namespace relprop::machine {
namespace {

#ifdef RELPROP_OPENBLAS64

// Where it is so, products are shared out over the threads of our own pool. The library's threads wait at full speed,
// for one another and for more work long after a product: where there are no more cores than threads, that is a core
// which the next loop lacks.
constexpr bool keeps_to_its_caller = true;

std::mutex mutex;
int users = 0, threads_meant = 1;

// While there is one the library keeps to the thread that calls it.
class OneThread {
 public:
  OneThread() {
    const std::lock_guard lock(mutex);
    if (users++ > 0) return;
    threads_meant = scipy_openblas_get_num_threads64_();
    scipy_openblas_set_num_threads64_(1);
  }
  ~OneThread() {
    const std::lock_guard lock(mutex);
    if (--users == 0) scipy_openblas_set_num_threads64_(threads_meant);
  }
};

}  // namespace

int blas_threads() {
  const std::lock_guard lock(mutex);
  return users > 0 ? threads_meant : scipy_openblas_get_num_threads64_();
}
void set_blas_threads(int count) {
  const std::lock_guard lock(mutex);
  threads_meant = count;
  if (users == 0) scipy_openblas_set_num_threads64_(count);
}
const char* blas_name() { return "scipy-openblas64"; }

#else

constexpr bool keeps_to_its_caller = false;
struct OneThread {};

int initial() {
  const char* wanted = std::getenv("OMP_NUM_THREADS");
  const int count = wanted ? std::atoi(wanted) : 0;
  return count > 0 ? count : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

std::atomic<int>& count_of_threads() {
  static std::atomic<int> count{initial()};
  return count;
}

}  // namespace

int blas_threads() { return count_of_threads(); }  // of our loops; such a BLAS keeps its own number
void set_blas_threads(int count) { count_of_threads() = count; }
const char* blas_name() { return RELPROP_BLAS_NAME; }

#endif

namespace {

constexpr int row_major = 101, plain = 111, transpose = 112;

blas_int narrow(Index v) {
  if (v > static_cast<Index>(std::numeric_limits<blas_int>::max())) throw std::length_error("an array is too long for this BLAS");
  return static_cast<blas_int>(v);
}

template <class... Args>
void gemm(float, Args... args) { CBLAS(sgemm)(args...); }
template <class... Args>
void gemm(double, Args... args) { CBLAS(dgemm)(args...); }
template <class... Args>
void gemv(float, Args... args) { CBLAS(sgemv)(args...); }
template <class... Args>
void gemv(double, Args... args) { CBLAS(dgemv)(args...); }

int flag(bool transposed) { return transposed ? transpose : plain; }

// Pieces are of as many rows or columns of C as depend on the product's size and the number of threads alone.
constexpr Index worth_a_thread = Index(1) << 20;  // multiplications
constexpr Index most_even = 16;                   // a length that its kernels have no rest of

// C (+)= A B, as one call of the library.
template <class T>
void multiply(const Matrix<T>& A, const Matrix<T>& B, T* C, Index stride, bool add) {
  const Index m = A.rows, n = B.columns, k = A.columns;
  const T one(1), beta(add || m == 1);
  if (m == 1) {  // C was filled: some BLAS multiply what they find by 0, and NaN stays
    const Index rows = B.transposed ? n : k, columns = B.transposed ? k : n;
    gemv(T(), row_major, flag(!B.transposed), narrow(rows), narrow(columns), one, B.data, narrow(B.stride), A.data,
         narrow(A.transposed ? A.stride : 1), beta, C, blas_int(1));
    return;
  }
  gemm(T(), row_major, flag(A.transposed), flag(B.transposed), narrow(m), narrow(n), narrow(k), one, A.data, narrow(A.stride),
       B.data, narrow(B.stride), beta, C, narrow(stride));
}

template <class T>
Matrix<T> rows_of(const Matrix<T>& A, Index first, Index count) {
  return {A.data + first * (A.transposed ? 1 : A.stride), count, A.columns, A.stride, A.transposed};
}

}  // namespace

template <class T>
void product(const Matrix<T>& A, const Matrix<T>& B, T* C, Index stride, bool add) {
  const Index m = A.rows, n = B.columns, k = A.columns;
  if (m == 0 || n == 0) return;
  if (!add && (k == 0 || m == 1))
    for (Index r = 0; r < m; ++r) std::fill(C + r * stride, C + r * stride + n, T(0));
  if (k == 0) return;
  count_product(2 * m * n * k);
  for (const Index length : {m, n, k, A.stride, B.stride, stride}) narrow(length);
  const Index longer = std::max(m, n), wanted = keeps_to_its_caller ? std::min<Index>(threads(), 1 + m * n * k / worth_a_thread) : 1;
  const Index piece = ((longer + wanted - 1) / wanted + most_even - 1) / most_even * most_even, pieces = (longer + piece - 1) / piece;
  [[maybe_unused]] const OneThread calm;
  parallel(pieces, 1, [&](Index begin, Index end) {
    for (Index first = begin * piece; first < std::min(longer, end * piece); first += piece) {
      const Index count = std::min(piece, longer - first);
      if (m > n)
        multiply(rows_of(A, first, count), B, C + first * stride, stride, add);
      else
        multiply(A, rows_of(B.flipped(), first, count).flipped(), C + first, stride, add);
    }
  });
}

template void product<float>(const Matrix<float>&, const Matrix<float>&, float*, Index, bool);
template void product<double>(const Matrix<double>&, const Matrix<double>&, double*, Index, bool);

}  // namespace relprop::machine
