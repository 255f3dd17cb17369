#include "relprop/dense.h"

#include "affine.h"
#include "machine/panel.h"

namespace relprop::cpu {
namespace {

using machine::Matrix;

// A panel of formed weights that stays in the caches while it is multiplied.
constexpr Index panel_bytes = 1 << 21, panel_least = 64;
// Elements of input and output that one batch of samples may have.
constexpr Index batch_elements = 1 << 20, batch_least = 256;

// ---- products with few rows ----
//
// They take the time in which the weights come from memory, once: a matrix product would copy them first, and with one
// row another library's threads would wait for more. Rows of weights that meet nothing but 0, as after a ReLU, are not
// read. Each element has its terms in the same order whatever the number of threads, and of rows as long as they are few.

constexpr Index few_rows = 8;
constexpr Index few_of_long_rows = 32, long_row = 1024;  // where elements are sums along what lies in one piece, and that is long
constexpr Index rows_at_once = 8;      // of weights, side by side
constexpr Index terms_at_once = 256;   // added up before they meet the sum so far, so that less is rounded away
constexpr Index sums_at_once = 1 << 12;
constexpr Index worth_a_thread = 1 << 15;
constexpr int samples_at_once = machine::most_rows / 2;  // which meet what is read of the weights while it is in registers

// sum_r,c += Σ_j a_r,j · w_j,c, while rows [from, to) of the next are asked for.
template <class T, int rows>
void add_rows_of_weights(const T (*a)[rows_at_once], const T* const* w, Index count, T* sum, const T* const* next, Index from, Index to) {
  using Vector = typename machine::Register<T>::type;
  constexpr Index lanes = machine::lanes<T>;
  Index c = 0;
  for (; c + lanes <= count; c += lanes) {
    for (Index j = from; j < to; ++j) machine::fetch(next[j] + c);
    Vector weights[rows_at_once];
    for (Index j = 0; j < rows_at_once; ++j) weights[j] = machine::read<Vector>(w[j] + c);
    for (int r = 0; r < rows; ++r) {
      auto here = machine::read<Vector>(sum + r * count + c);
      for (Index j = 0; j < rows_at_once; ++j) here += a[r][j] * weights[j];
      machine::write(here, sum + r * count + c);
    }
  }
  for (; c < count; ++c)
    for (int r = 0; r < rows; ++r)
      for (Index j = 0; j < rows_at_once; ++j) sum[r * count + c] += a[r][j] * w[j][c];
}

// Columns [first, last) of C = A B or C += A B, B's rows next to one another in memory.
template <class T>
void add_up_rows(const Matrix<T>& A, const Matrix<T>& B, Index first, Index last, T* C, Index stride, bool add) {
  T sums[sums_at_once];
  const Index most = sums_at_once / A.rows;
  for (Index column = first; column < last; column += most) {
    const Index columns = std::min(most, last - column);
    for (Index r = 0; r < A.rows && !add; ++r) std::fill_n(C + r * stride + column, columns, T(0));
    for (Index term = 0; term < A.columns; term += terms_at_once) {
      std::fill_n(sums, A.rows * columns, T(0));
      Index met[terms_at_once], count = 0;
      for (Index k = term; k < std::min(A.columns, term + terms_at_once); ++k) {
        bool is_met = false;
        for (Index r = 0; r < A.rows; ++r) is_met |= A.data[r * A.stride + k] != 0;
        met[count] = k;
        count += is_met;
      }
      for (Index k = 0; k < count; k += rows_at_once) {
        const T *w[rows_at_once], *next[rows_at_once];
        for (Index j = 0; j < rows_at_once; ++j) {
          w[j] = B.data + met[std::min(k + j, count - 1)] * B.stride + column;
          next[j] = B.data + met[std::min(k + j + rows_at_once, count - 1)] * B.stride + column;
        }
        for (Index r = 0, taken; r < A.rows; r += taken) {
          taken = A.rows - r >= samples_at_once ? samples_at_once : 1;
          T a[samples_at_once][rows_at_once];
          for (Index i = 0; i < taken; ++i)
            for (Index j = 0; j < rows_at_once; ++j) a[i][j] = k + j < count ? A.data[(r + i) * A.stride + met[k + j]] : T(0);
          const Index from = rows_at_once * r / A.rows, to = rows_at_once * (r + taken) / A.rows;
          T* sum = sums + r * columns;
          if (taken > 1)
            add_rows_of_weights<T, samples_at_once>(a, w, columns, sum, next, from, to);
          else
            add_rows_of_weights<T, 1>(a, w, columns, sum, next, from, to);
        }
      }
      for (Index r = 0; r < A.rows; ++r)
        for (Index c = 0; c < columns; ++c) C[r * stride + column + c] += sums[r * columns + c];
    }
  }
}

// The products of `rows` rows of A with each of `count` rows of weights, all of the same length, A's and the weights' so
// far apart from one another, while as many rows of what begins at `next` are asked for.
template <class T, int rows, int count>
void meet_rows(const T* a, Index a_apart, const T* w, Index apart, Index length, T* out, Index out_apart, bool add, const T* next) {
  using Vector = typename machine::Register<T>::type;
  constexpr Index lanes = machine::lanes<T>;
  Vector sums[rows][count] = {};
  Index k = 0;
  for (; k + lanes <= length; k += lanes) {
    Vector weights[count];
    for (int j = 0; j < count; ++j) weights[j] = machine::read<Vector>(w + j * apart + k);
    for (int r = 0; r < rows; ++r) {
      machine::fetch(next + r * apart + k);
      const auto here = machine::read<Vector>(a + r * a_apart + k);
      for (int j = 0; j < count; ++j) sums[r][j] += here * weights[j];
    }
  }
  for (int r = 0; r < rows; ++r)
    for (int j = 0; j < count; ++j) {
      T of_lane[lanes], sum(0);
      machine::write(sums[r][j], of_lane);
      for (Index l = k; l < length; ++l) of_lane[l - k] += a[r * a_apart + l] * w[j * apart + l];
      for (Index l = 0; l < lanes; ++l) sum += of_lane[l];
      T& to = out[r * out_apart + j];
      to = add ? to + sum : sum;
    }
}

// z (columns) += Σ_k by_k w[places_k], rows of w `apart` from one another
constexpr Index registers_at_once = 8;
template <class T>
constexpr Index outputs_at_once = registers_at_once * machine::lanes<T>;
template <class T>
void add_rows(Index columns, Index count, const Index* places, const T* by, const T* w, Index apart, T* z) {
  using Vector = typename machine::Register<T>::type;
  if (columns < outputs_at_once<T>) {
    for (Index k = 0; k < count; ++k)
      for (Index o = 0; o < columns && by[k] != 0; ++o) z[o] += by[k] * w[places[k] * apart + o];
    return;
  }
  Vector sums[registers_at_once];
  for (Index r = 0; r < registers_at_once; ++r) sums[r] = machine::read<Vector>(z + r * machine::lanes<T>);
  for (Index k = 0; k < count; ++k) {
    if (by[k] == 0) continue;
    const T *row = w + places[k] * apart, *next = w + places[std::min(k + 4, count - 1)] * apart;
    for (Index r = 0; r < registers_at_once; ++r) {
      machine::fetch(next + r * machine::lanes<T>);
      sums[r] += by[k] * machine::read<Vector>(row + r * machine::lanes<T>);
    }
  }
  for (Index r = 0; r < registers_at_once; ++r) machine::write(sums[r], z + r * machine::lanes<T>);
}

// C = A B, or C += A B where add
template <class T>
void times(const Matrix<T>& A, const Matrix<T>& B, T* C, Index stride, bool add = false) {
  const Index columns = B.columns, length = A.columns;
  if (A.rows > (B.transposed && length >= long_row ? few_of_long_rows : few_rows)) return machine::product(A, B, C, stride, add);
  if (A.rows == 0 || columns == 0) return;
  if (length > 0) machine::count_product(2 * A.rows * columns * length);
  constexpr int at_once = 4;  // columns that belong together
  const Index of_one = std::max<Index>(1, A.rows * length * at_once), grain = (worth_a_thread + of_one - 1) / of_one;
  machine::parallel((columns + at_once - 1) / at_once, grain, [&](Index begin, Index end) {
    const Index first = begin * at_once, last = std::min(columns, end * at_once);
    if (!B.transposed) return add_up_rows(A, B, first, last, C, stride, add);
    const auto meet = [&](auto rows, auto count, Index r, Index c, Index next) {
      meet_rows<T, rows, count>(A.data + r * A.stride, A.stride, B.data + c * B.stride, B.stride, length, C + r * stride + c, stride, add,
                                B.data + next * B.stride);
    };
    constexpr std::integral_constant<int, 1> one{};
    constexpr std::integral_constant<int, at_once> several{};
    constexpr std::integral_constant<int, samples_at_once> rows{};
    for (Index c = first; c < last; c += at_once)
      for (Index r = 0; r < A.rows;) {
        const bool many = A.rows - r >= rows;
        if (last - c < at_once)
          for (Index j = c; j < last; ++j) meet(one, one, r, j, c);
        else if (many)
          meet(rows, several, r, c, c + at_once);
        else
          meet(one, several, r, c, c + at_once + r % at_once);
        r += many && last - c >= at_once ? rows : 1;
      }
  });
}

template <class Isa, class T>
class DenseMap final : public AffineMap<Isa, T> {
 public:
  DenseMap(const DenseSize& size, const T* x, const DenseWeights<T>& w, T* r)
      : AffineMap<Isa, T>({size.samples, size.positions * size.inputs, size.positions, size.outputs, true, true, size.one_x}),
        size_(size), x_(x), w_(w), r_(r) {}

  Index samples_at_once() const override {
    const Index rows = std::max(batch_least, batch_elements / std::max<Index>(1, size_.inputs + size_.outputs));
    return std::max<Index>(1, rows / std::max<Index>(1, size_.positions));
  }

  bool is_nonnegative(Samples at) const override {
    return nonnegative(x_ + at.first * this->size.inputs, at.count * this->size.inputs);
  }

  void pass(const T* R) const override { std::copy_n(R, size_.rows() * size_.outputs, r_); }

  void sum(Samples at, Factor input, Factor weight, const Constants<T>& constants, T* z) const override {
    const Index rows = at.count * size_.positions;
    const T* x_at = x_ + at.first * this->size.inputs;
    const bool forms_x = input != Factor::plain, forms_w = weight != Factor::plain;
    const Index width = forms_x || forms_w ? panel_width() : size_.inputs;
    Buffer<T> x_panel(forms_x ? rows * width : 0), w_panel(forms_w ? width * size_.outputs : 0);
    if (size_.inputs == 0) std::fill_n(z, rows * size_.outputs, T(0));
    for (Index first = 0; first < size_.inputs; first += width) {
      const Index count = std::min(width, size_.inputs - first);
      Matrix<T> x{x_at + first, rows, count, size_.inputs};
      if (forms_x) {
        form_inputs(input, constants, x_at, rows, first, count, x_panel.data());
        x = {x_panel.data(), rows, count, count};
      }
      times(x, weights(weight, constants, first, count, w_panel.data()), z, size_.outputs, first > 0);
    }
  }

  std::optional<T> sum_at(Index sample, Index o, Factor input, Factor weight, const Constants<T>& constants) const override {
    const Index position = o / size_.outputs, column = o % size_.outputs;
    const T* w = w_.data + column * (w_.transposed ? size_.inputs : 1);
    T sum(0);
    const T* x = x_ + this->x_of(sample) + position * size_.inputs;
    for_each_input(input, constants, x, place(position, 0), size_.inputs, [&](Index i, T v) {
      sum += v * math::apply(weight, w[i * (w_.transposed ? 1 : size_.outputs)], constants.gamma);
    });
    return sum;
  }

  void sum_ones(Factor weight, const Constants<T>& constants, T* z) const override {
    std::fill_n(z, size_.outputs, weight == Factor::one ? static_cast<T>(size_.inputs) : T(0));
    if (weight == Factor::one) return;
    const Index width = panel_width();
    Buffer<T> panel(width * size_.outputs);
    for (Index first = 0; first < size_.inputs; first += width) {
      const Index count = std::min(width, size_.inputs - first);
      const Matrix<T> w = weights(weight, constants, first, count, panel.data());
      for (Index i = 0; i < count && !w.transposed; ++i)
        for (Index o = 0; o < size_.outputs; ++o) z[o] += w.data[i * w.stride + o];
      for (Index o = 0; o < size_.outputs && w.transposed; ++o)
        for (Index i = 0; i < count; ++i) z[o] += w.data[o * w.stride + i];
    }
  }

  // Parts that share their input part are added up before they meet it.
  void carry(Samples at, const Carry<T>* parts, int count, const Constants<T>& constants) const override {
    const Index rows = at.count * size_.positions;
    const T* x = x_ + this->x_of(at.first);
    T* r = r_ + at.first * this->size.inputs;
    if (count == 0) std::fill_n(r, rows * size_.inputs, T(0));
    if (count == 0) return;
    bool forms = false, one_group = true;
    for (int p = 0; p < count; ++p) {
      forms |= parts[p].weight != Factor::plain && parts[p].weight != Factor::one;
      one_group &= parts[p].input == parts[0].input;
    }
    const Index width = forms || !one_group ? panel_width() : std::max<Index>(1, size_.inputs);
    Buffer<T> panel(forms ? width * size_.outputs : 0), apart(one_group ? 0 : rows * width), evenly(rows);
    for (Index first = 0; first < size_.inputs; first += width) {
      const Index columns = std::min(width, size_.inputs - first);
      for (int p = 0; p < count; ++p) {
        const Factor input = parts[p].input;
        if (std::any_of(parts, parts + p, [&](const Carry<T>& other) { return other.input == input; })) continue;
        T* sum = p == 0 ? r + first : apart.data();
        const Index stride = p == 0 ? size_.inputs : columns;
        bool is_begun = false, has_even = false;
        for (int q = p; q < count; ++q) {
          if (parts[q].input != input) continue;
          if (parts[q].weight == Factor::one) {
            add_rows(parts[q].s, rows, has_even, evenly.data());
            has_even = true;
          } else {
            const Matrix<T> s{parts[q].s, rows, size_.outputs, size_.outputs};
            times(s, weights(parts[q].weight, constants, first, columns, panel.data()).flipped(), sum, stride, is_begun);
            is_begun = true;
          }
        }
        multiply(input, constants, x, rows, first, columns, is_begun ? sum : nullptr, stride, has_even ? evenly.data() : nullptr,
                 p > 0, r);
      }
    }
  }

 private:
  Index panel_width() const {
    const Index fits = panel_bytes / static_cast<Index>(sizeof(T)) / std::max<Index>(1, size_.outputs);
    return std::max<Index>(1, std::min(size_.inputs, std::max(panel_least, fits)));
  }

  // Rows [first, first + count) of w's part, formed in `panel` unless they are w's own.
  Matrix<T> weights(Factor factor, const Constants<T>& constants, Index first, Index count, T* panel) const {
    const Index outputs = size_.outputs;
    if (factor == Factor::plain)
      return {w_.data + (w_.transposed ? first : first * outputs), count, outputs, w_.transposed ? size_.inputs : outputs,
              w_.transposed};
    const Index runs = w_.transposed ? outputs : count, length = w_.transposed ? count : outputs;
    const T* begin = w_.data + (w_.transposed ? first : first * outputs);
    const Index stride = w_.transposed ? size_.inputs : outputs;
    machine::parallel(runs, grain(length), [&](Index from, Index to) {
      for (Index k = from; k < to; ++k) form_weights(factor, constants.gamma, begin + k * stride, length, panel + k * length);
    });
    return {panel, count, outputs, length, w_.transposed};
  }

  void form_inputs(Factor factor, const Constants<T>& constants, const T* x, Index rows, Index first, Index count, T* out) const {
    machine::parallel(rows, grain(count), [&](Index from, Index to) {
      for (Index row = from; row < to; ++row)
        for_each_input(factor, constants, x + row * size_.inputs + first, place(row, first), count,
                       [&, to_row = out + row * count](Index j, T v) { to_row[j] = v; });
    });
  }

  // Σ_o s_o of each row
  void add_rows(const T* s, Index rows, bool add, T* sums) const {
    machine::parallel(rows, grain(size_.outputs), [&](Index from, Index to) {
      for (Index row = from; row < to; ++row) {
        T sum = add ? sums[row] : T(0);
        for (Index o = 0; o < size_.outputs; ++o) sum += s[row * size_.outputs + o];
        sums[row] = sum;
      }
    });
  }

  // r (+)= input part of x · (sum + evenly), sum and evenly 0 where null
  void multiply(Factor input, const Constants<T>& constants, const T* x, Index rows, Index first, Index count, const T* sum,
                Index stride, const T* evenly, bool add, T* r) const {
    machine::parallel(rows, grain(count), [&](Index from, Index to) {
      for (Index row = from; row < to; ++row) {
        T* out = r + row * size_.inputs + first;
        const T* x_row = x + (size_.one_x ? row % size_.positions : row) * size_.inputs + first;
        const T* in = sum ? sum + row * stride : nullptr;
        const T even = evenly ? evenly[row] : T(0);
        const auto each = [&](auto&& f) { for_each_input(input, constants, x_row, place(row, first), count, f); };
        if (in && add)
          each([&](Index j, T v) { out[j] += v * (in[j] + even); });
        else if (in)
          each([&](Index j, T v) { out[j] = v * (in[j] + even); });
        else if (add)
          each([&](Index j, T v) { out[j] += v * even; });
        else
          each([&](Index j, T v) { out[j] = v * even; });
      }
    });
  }

  // The place in its sample of element `first` of a row.
  Index place(Index row, Index first) const { return row % size_.positions * size_.inputs + first; }

  static Index grain(Index length) { return std::max<Index>(1, (1 << 15) / std::max<Index>(1, length)); }

  DenseSize size_;
  const T* x_;
  DenseWeights<T> w_;
  T* r_;
};

template <class T>
Matrix<T> matrix(const DenseSize& size, const DenseWeights<T>& w) {
  return {w.data, size.inputs, size.outputs, w.transposed ? size.inputs : size.outputs, w.transposed};
}

}  // namespace

template <class Isa, class T>
void for_isa::dense_forward(Isa, const DenseSize& size, const T* x, const DenseWeights<T>& w, const T* b, T* z) {
  times<T>({x, size.rows(), size.inputs, size.inputs}, matrix(size, w), z, size.outputs);
  if (!b) return;
  machine::parallel(size.rows(), std::max<Index>(1, (1 << 15) / std::max<Index>(1, size.outputs)), [&](Index from, Index to) {
    for (Index row = from; row < to; ++row)
      for (Index o = 0; o < size.outputs; ++o) z[row * size.outputs + o] += b[o];
  });
}

template <class Isa, class T>
void for_isa::dense_gradient(Isa, const DenseSize& size, const DenseWeights<T>& w, const T* G, T* G_x) {
  times<T>({G, size.rows(), size.outputs, size.outputs}, matrix(size, w).flipped(), G_x, size.inputs);
}

template <class Isa, class T>
void for_isa::dense_update(Isa, Index samples, Index count, Index outputs, const Index* places, const T* by, const T* w, T* z) {
  const Index grain = std::max<Index>(1, (1 << 16) / std::max<Index>(1, count * outputs));
  machine::parallel(samples, grain, [&](Index from, Index to) {
    for (Index n = from; n < to; ++n)
      for (Index o = 0; o < outputs; o += outputs_at_once<T>)
        add_rows(std::min(outputs_at_once<T>, outputs - o), count, places + n * count, by + n * count, w + o, outputs, z + n * outputs + o);
  });
}

template <class Isa, class T>
void for_isa::dense_relevance(Isa, const DenseSize& size, const T* x, const DenseWeights<T>& w, const T* b, const T* R,
                              const AnyRule<T>& rule, const Bounds<T>& bounds, const T* z, const Account<T>* account, T* r) {
  affine_relevance<Isa, T>(DenseMap<Isa, T>(size, x, w, r), b, R, rule, bounds, z, account);
}

#define RELPROP_INSTANTIATE(T)                                                                                                 \
  template void for_isa::dense_forward(machine::RELPROP_ISA, const DenseSize&, const T*, const DenseWeights<T>&, const T*, T*); \
  template void for_isa::dense_gradient(machine::RELPROP_ISA, const DenseSize&, const DenseWeights<T>&, const T*, T*);          \
  template void for_isa::dense_update(machine::RELPROP_ISA, Index, Index, Index, const Index*, const T*, const T*, T*);          \
  template void for_isa::dense_relevance(machine::RELPROP_ISA, const DenseSize&, const T*, const DenseWeights<T>&, const T*,    \
                                         const T*, const AnyRule<T>&, const Bounds<T>&, const T*, const Account<T>*, T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cpu
