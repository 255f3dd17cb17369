// What the schedules of LSTM and GRU share: small matrix products, time, and rules from step to step.
#pragma once

#include <memory>
#include <vector>

#include "affine.h"
#include "machine/blas.h"
#include "relprop/recurrent.h"

// Before a loop whose turns do not depend on each other, whatever its pointers may look like.
#if defined(__clang__)
#define RELPROP_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#define RELPROP_CONTRACT
#define RELPROP_PREFETCH(address) __builtin_prefetch(address)
#elif defined(__GNUC__)
#define RELPROP_INDEPENDENT _Pragma("GCC ivdep")
#define RELPROP_CONTRACT __attribute__((optimize("fp-contract=fast")))
#define RELPROP_PREFETCH(address) __builtin_prefetch(address)
#else
#define RELPROP_INDEPENDENT
#define RELPROP_CONTRACT
#define RELPROP_PREFETCH(address) ((void)(address))
#endif

namespace relprop::cpu {

using machine::Matrix;

// An affine map in each step: z = x w_x + y w_y + b, or x w_x + y + b where w_y has no data. x is known for all
// steps at once, and its relevance is wanted for all at once; that of y goes on to the next step.
template <class T>
struct StepMap {
  Steps<const T> x;
  Matrix<T> w_x{nullptr, 0, 0, 0};  // no rows: no x
  Bounds<T> x_bounds;
  Steps<const T> y;
  Matrix<T> w_y{nullptr, 0, 0, 0};
  Bounds<T> y_bounds;
  const T* b = nullptr;
  Index width = 0;  // columns come in runs of it, which are samples of their own to a stabiliser
  Index columns = 0;
  Steps<const T> z;

  bool is_elementwise() const { return w_y.data == nullptr; }
  Index states() const { return is_elementwise() ? columns : w_y.rows; }
};

// What relevance stays in a map: per sample, added up over time; null where nobody asks.
template <class T>
struct StepAccount {
  double *stabilizer = nullptr, *dropped = nullptr;
  T* bias = nullptr;  // a sample's `columns` begin bias_stride after those of the one before
  Index bias_stride = 0;
};

// A rule on a StepMap.
template <class Isa, class T>
class StepRule {
 public:
  virtual ~StepRule() = default;
  // Elements of workspace that a step of a sample takes.
  virtual Index elements() const = 0;
  // Makes the sums of samples [first, first + count), which the calls below are about.
  virtual void begin(Index first, Index count) = 0;
  // The shares of the relevance R of z in step t of sample n, and of no relevance. Different samples may be had
  // from different threads.
  virtual void split(Index n, Index t, const T* R) = 0;
  virtual void skip(Index n, Index t) = 0;
  // r (+)= the relevance of y in step t of samples [from, to): rows of states() numbers, the first for `from`.
  virtual void carry_y(Index from, Index to, Index t, T* r, bool add) const = 0;
  // R_x (samples, steps, inputs) (+)= the relevance of x in all steps of the samples.
  virtual void carry_x(T* R_x, bool add) const = 0;
};

// account: its arrays are 0 at first, or null.
template <class Isa, class T>
std::unique_ptr<StepRule<Isa, T>> step_rule(Isa, const StepMap<T>& map, Index steps, const AnyRule<T>& rule,
                                            const StepAccount<T>& account);

namespace {

// ── small matrix products ──

template <class Isa>
constexpr Index vector_bytes = 16;
template <>
constexpr Index vector_bytes<machine::X86V3> = 32;
template <>
constexpr Index vector_bytes<machine::X86V4> = 64;

// B (k, n) of a product that is made again and again with few rows on the left, where a call of BLAS costs more than
// the product: packed into panels of two vectors' width. A row's result does not depend on the rows beside it.
template <class Isa, class T>
class Panels {
  static constexpr Index lanes = vector_bytes<Isa> / Index(sizeof(T)), width = 2 * lanes;
  typedef T Vector __attribute__((vector_size(vector_bytes<Isa>), aligned(alignof(T)), may_alias));

 public:
  Panels() = default;
  explicit Panels(const Matrix<T>& B)
      : rows_(B.rows), columns_(B.columns), data_((B.columns + width - 1) / width * width * B.rows) {
    for (Index first = 0; first < columns_; first += width)
      for (Index k = 0; k < rows_; ++k)
        for (Index j = 0; j < width; ++j)
          data_.data()[first * rows_ + k * width + j] =
              first + j < columns_ ? B.data[B.transposed ? (first + j) * B.stride + k : k * B.stride + first + j] : T(0);
  }

  // C (m, columns) = A B, or += where add; rows of A and C lie `a`, `c` apart.
  void multiply(const T* A, Index a, Index m, T* C, Index c, bool add) const {
    machine::count_product(2 * m * rows_ * columns_);
    for (Index first = 0; first < columns_; first += width) {
      const T* panel = data_.data() + first * rows_;
      const Index count = std::min(width, columns_ - first);
      for (Index row = 0; row < m; row += 4) {
        const T* from = A + row * a;
        T* to = C + row * c + first;
        switch (std::min<Index>(4, m - row)) {
          case 4: tile<4>(from, a, panel, to, c, count, add); break;
          case 3: tile<3>(from, a, panel, to, c, count, add); break;
          case 2: tile<2>(from, a, panel, to, c, count, add); break;
          default: tile<1>(from, a, panel, to, c, count, add);
        }
      }
    }
  }

 private:
  template <int m>
  RELPROP_CONTRACT void tile(const T* A, Index a, const T* panel, T* C, Index c, Index count, bool add) const {
#if defined(__clang__)
#pragma clang fp contract(fast)
#endif
    Vector sums[m][2] = {};
    for (Index k = 0; k < rows_; ++k, panel += width) {
      const Vector left = *reinterpret_cast<const Vector*>(panel), right = *reinterpret_cast<const Vector*>(panel + lanes);
      for (int r = 0; r < m; ++r) {
        sums[r][0] += A[r * a + k] * left;
        sums[r][1] += A[r * a + k] * right;
      }
    }
    for (int r = 0; r < m; ++r) {
      T* out = C + r * c;
      const T* sum = reinterpret_cast<const T*>(sums[r]);
      if (count == width) {
        auto* to = reinterpret_cast<Vector*>(out);
        auto* to_right = reinterpret_cast<Vector*>(out + lanes);
        *to = add ? *to + sums[r][0] : sums[r][0];
        *to_right = add ? *to_right + sums[r][1] : sums[r][1];
      } else {
        for (Index j = 0; j < count; ++j) out[j] = add ? out[j] + sum[j] : sum[j];
      }
    }
  }

  Index rows_ = 0, columns_ = 0;
  Buffer<T> data_;
};

// ── time ──

// The k-th step that is read.
inline Index step_at(const Time& time, Index steps, Index k) { return time.reverse ? steps - 1 - k : k; }

// The one that a walk back comes to after step t, or t at the start.
inline Index step_after(const Time& time, Index steps, Index t) {
  return time.reverse ? std::min(t + 1, steps - 1) : std::max<Index>(t - 1, 0);
}

// f(first, count, k) over runs of steps that are read one after the other: steps [first, first + count), of which the k-th
// is read first. What is known of all steps beforehand, or is wanted of all, is a product of a run: it reads its weights
// once, and what it leaves is still in the caches.
constexpr Index most_steps = 32;
template <class F>
void for_each_run(const Time& time, Index steps, F&& f) {
  for (Index k = 0; k < steps; k += most_steps) {
    const Index count = std::min(most_steps, steps - k);
    f(time.reverse ? steps - k - count : k, count, k);
  }
}

inline bool is_valid(const Time& time, Index n, Index t) { return !time.lengths || t < time.lengths[n]; }

// Asks for the row of a sequence that is read or written next: with many samples there are more streams through
// memory than a machine follows by itself.
template <class T>
void prefetch(const Steps<T>& rows, Index length, Index n, Index t) {
  const auto* bytes = reinterpret_cast<const char*>(rows.at(n, t));
  for (Index at = 0; at < length * Index(sizeof(T)); at += 64) RELPROP_PREFETCH(bytes + at);
}

// Samples that one thread should have at least.
inline Index grain_of(const RecurrentSize& size) {
  const Index work = size.steps * size.width * (size.width + 32);
  return std::max<Index>(1, (1 << 15) / std::max<Index>(1, work));
}

// f(first, count) over groups of samples whose workspace, `elements` a step, stays small.
template <class F>
void for_each_group(const RecurrentSize& size, Index elements, F&& f) {
  constexpr Index most = 1 << 22;
  const Index least = 8 * machine::threads(), fits = most / std::max<Index>(1, size.steps * elements);
  const Index group = std::max(least, fits);
  for (Index first = 0; first < size.samples; first += group) f(first, std::min(group, size.samples - first));
}

// row = last, or 0
template <class T>
void begin_row(const T* last, Index n, Index width, T* row) {
  if (last)
    std::copy_n(last + n * width, width, row);
  else
    std::fill_n(row, width, T(0));
}

// f(a constant gate), so that loops know it.
template <class F>
void with_gate(math::Gate gate, F&& f) {
  switch (gate) {
    case math::Gate::all: return f(std::integral_constant<math::Gate, math::Gate::all>{});
    case math::Gate::half: return f(std::integral_constant<math::Gate, math::Gate::half>{});
    case math::Gate::prop: return f(std::integral_constant<math::Gate, math::Gate::prop>{});
    case math::Gate::abs: return f(std::integral_constant<math::Gate, math::Gate::abs>{});
    case math::Gate::gradient: return f(std::integral_constant<math::Gate, math::Gate::gradient>{});
  }
}

// What all maps and sums of a layer keep, per sample, added up in double precision over time.
template <class T>
class StepSums {
 public:
  // columns: of the account's bias shares; they start at 0.
  StepSums(Index samples, const Account<T>* account, Index columns)
      : account_(account), columns_(columns), stabilizer_(account ? static_cast<std::size_t>(samples) : 0), dropped_(stabilizer_) {
    if (account && account->bias) std::fill_n(account->bias, samples * columns, T(0));
  }

  // The account of a map whose shares of the bias begin at a column.
  StepAccount<T> at(Index column) {
    if (!account_) return {};
    return {stabilizer_.data(), dropped_.data(), account_->bias ? account_->bias + column : nullptr, columns_};
  }

  void add(Index n, const math::Withheld<T>& kept) {
    stabilizer_[static_cast<std::size_t>(n)] += static_cast<double>(kept.stabilizer);
    dropped_[static_cast<std::size_t>(n)] += static_cast<double>(kept.dropped);
  }

  // The same of a row of units.
  void add(Index n, const T* stabilizer, const T* dropped, Index width) {
    double sums[2] = {0, 0};
    for (Index j = 0; j < width; ++j) {
      sums[0] += static_cast<double>(stabilizer[j]);
      sums[1] += static_cast<double>(dropped[j]);
    }
    stabilizer_[static_cast<std::size_t>(n)] += sums[0];
    dropped_[static_cast<std::size_t>(n)] += sums[1];
  }

  void write() const {
    for (std::size_t n = 0; n < stabilizer_.size(); ++n) {
      account_->stabilizer[n] = static_cast<T>(stabilizer_[n]);
      account_->dropped[n] = static_cast<T>(dropped_[n]);
    }
  }

 private:
  const Account<T>* account_;
  Index columns_;
  std::vector<double> stabilizer_, dropped_;
};

// ε and the stabiliser of a rule, which the Norm of sums of states shares.
template <class T>
struct Stabilizing {
  T epsilon = 0;
  math::Stabilizer stabilizer = math::Stabilizer::add;

  explicit Stabilizing(const AnyRule<T>& rule) {
    std::visit([&](const auto& one) { read(one); }, rule);
  }

  // The ε that acts on a row of a sum of states.
  T on(const T* z, Index width) const {
    T squares(0);
    if (stabilizer == math::Stabilizer::rms)
      for (Index j = 0; j < width; ++j) squares += z[j] * z[j];
    return math::acting_epsilon(epsilon, stabilizer, squares / static_cast<T>(std::max<Index>(1, width)));
  }

 private:
  template <class Rule>
  auto read(const Rule& rule) -> decltype(rule.stabilizer, void()) {
    epsilon = rule.epsilon;
    stabilizer = rule.stabilizer;
  }
  void read(const math::Pass<T>&) {}
  void read(int) {}
};

}  // namespace
}  // namespace relprop::cpu
