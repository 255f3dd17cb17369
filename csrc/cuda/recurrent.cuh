// A walk over the steps of a sequence: one kernel from the first step to the last.
//
//   sum(n, j, g) = Σ_k v[n, first_g + k] · w[j, offset_g + k]       a product of every step
//
// A Task takes the sums of a unit j of a sample n and leaves numbers in v, the vector that the next product reads; so
// do the others, and all units of a sample need all of it. Samples do not meet: a team of blocks walks with some of
// them, each block of a team with some of the units. Where one block can hold the weights it is a team by itself, v
// lies in its shared memory, and a barrier of the block is all that a step waits for. Else v lies in global memory
// behind a barrier of the grid, and a block holds the weights of its units, or reads them in each step where they do not
// fit either. Which it is changes no bit of a result: eight lanes add up a sum, each every eighth term, in one order.
//
// Nothing but this order is written here: formulas are in math/recurrent.h and math/rules.
#pragma once

#include <vector>

#include "cuda/recurrent.h"
#include "cuda/rule.cuh"
#include "machine/cuda/block.cuh"
#include "machine/cuda/grid.cuh"
#include "math/recurrent.h"

namespace relprop::cuda {

constexpr int octet = 8;          // lanes that add up one sum, and at most rows that a product takes at once
constexpr int most_octets = 32;   // in a block
constexpr int most_stages = 2;    // products in a step
constexpr int most_sums = 4;      // of a unit in a product

struct StepProduct {
  int groups;                                          // sums of a unit
  int first[most_sums], depth[most_sums], offset[most_sums];
  int length;    // of v
  int unit;      // numbers from one unit's weights to the next's
  Index packed;  // where the weights begin
};

struct Walk {
  Index samples, turns;
  int width, stages;
  StepProduct products[most_stages];
  // how it is spread over blocks
  int teams, members;  // blocks in a team
  int rows;            // samples of a team
  int units;           // of a block
  int octets;          // in a block
  int staged;          // numbers of v, per row, in shared memory
  bool is_held, is_alone;

  HD int longest() const {
    int most = 0;
    for (int s = 0; s < stages; ++s) most = products[s].length > most ? products[s].length : most;
    return most;
  }
  // Numbers of weights of so many units.
  HD Index weights(int count) const {
    Index sum = 0;
    for (int s = 0; s < stages; ++s) sum += Index(products[s].unit) * count;
    return sum;
  }
  // Rows of v in shared memory: a block by itself writes some while it reads others.
  HD int slots() const { return is_alone && rows <= 2 ? rows : octet; }
  HD int tile() const { return (is_alone ? 2 : 1) * slots() * staged; }
  HD int held() const { return is_held ? static_cast<int>(weights(units)) : 0; }
};

inline Walk walk_over(const RecurrentSize& size, int stages) {
  return {size.samples, size.steps * stages, static_cast<int>(size.width), stages, {}, 0, 0, 0, 0, 0, 0, false, false};
}

// A sum's range of v, and of a unit's weights. All sums first, then `finish`.
inline void add_sum(StepProduct& product, int first, int depth) {
  const int g = product.groups++;
  product.first[g] = first;
  product.depth[g] = depth;
  product.offset[g] = g == 0 ? 0 : product.offset[g - 1] + product.depth[g - 1];
  product.length = first + depth > product.length ? first + depth : product.length;
}

// Lays out the weights; returns how many numbers they are. Four units begin in four different groups of banks.
Index finish(Walk& walk);

// Element k of unit j is the weight part of w[j · unit + k · step].
template <class T>
struct Packed {
  const T* w;
  Index unit, step;
  math::Factor factor = math::Factor::plain;
  T gamma = 0;
};

// Weights of sum `group`, `depth` of them from `skip` on.
template <class T>
void pack_weights(const char* operation, Stream stream, const Walk& walk, int stage, int group, int skip, int depth,
                  const Packed<T>& from, T* packed);

// Spreads the walk of a kernel with so many bytes to a number over the device's blocks.
void spread(const char* operation, const void* kernel, int item, Walk& walk);

// ── on the device ──

HD Index step_at(const Time& time, Index steps, Index k) { return time.reverse ? steps - 1 - k : k; }
HD bool is_valid(const Time& time, Index n, Index t) { return !time.lengths || t < time.lengths[n]; }

// What a Task knows of the sequence.
struct Sequence {
  RecurrentSize size;
  Time time;

  HD int width() const { return static_cast<int>(size.width); }
  HD Index at(Index n, Index t) const { return n * size.steps + t; }
  HD Index step(Index k) const { return step_at(time, size.steps, k); }
  HD bool is_valid(Index n, Index t) const { return cuda::is_valid(time, n, t); }
  HD Index own(Index n, int j) const { return n * size.width + j; }
  HD Index step_back(Index i) const { return step(size.steps - 1 - i); }  // the i-th that is met on the way back
};

// Asks for what a later step reads.
template <class T>
HD void ask_for(const T* at) {
#ifdef __CUDA_ARCH__
  asm volatile("prefetch.global.L2 [%0];" ::"l"(__cvta_generic_to_global(at)));
#else
  (void)at;
#endif
}

// Where a Task leaves numbers for the next product: element k of v.
template <class T>
struct Put {
  Tile<T> tile;
  int at;       // where the row begins in the tile
  T* memory;    // the row, or null
  HD void operator()(int k, T value) const {
    if (memory)
      memory[k] = value;
    else
      tile[at + k] = value;
  }
};

// The sum over the lanes of an octet of each of R rows: of row r in the lanes of the r-th of R equal shares of it.
template <int R, class T>
__device__ inline T sum_of_own_row(T (&sums)[octet], int lane) {
  int count = R;
  UNROLL
  for (int bit = octet / 2; bit > 0; bit /= 2) {
    if (count > 1) {
      count /= 2;
      const bool upper = (lane & bit) != 0;
      UNROLL
      for (int r = 0; r < R / 2; ++r) {
        if (r >= count) continue;
        const T mine = upper ? sums[r + count] : sums[r], other = upper ? sums[r] : sums[r + count];
        sums[r] = mine + __shfl_xor_sync(~0u, other, bit);
      }
    } else {
      sums[0] = sums[0] + __shfl_xor_sync(~0u, sums[0], bit);
    }
  }
  return sums[0];
}

// Adds the terms of all sums whose v is in the tile, numbers [begin, end) of it.
template <int R, int groups, class T, class Weight>
__device__ inline void add_terms(const StepProduct& product, const Weight& weight, Tile<T> tile, int pitch, int begin, int end,
                                 int shift, int lane, T (&sums)[groups][octet]) {
  UNROLL
  for (int g = 0; g < groups; ++g) {
    if (g >= product.groups) break;
    const int first = product.first[g], last = first + product.depth[g];
    const int from = first > begin ? first : begin, to = last < end ? last : end;
    int k = from / octet * octet + lane;
    for (k += k < from ? octet : 0; k < to; k += octet) {
      const T w = weight(product.offset[g] + k - first);
      UNROLL
      for (int r = 0; r < R; ++r) sums[g][r] = multiply_add<T>(w, tile[shift + r * pitch + k - begin], sums[g][r]);
    }
  }
}

// A Task has
//   groups                            most sums of a unit in any product
//   turn(i, n, j, sums, put)          i = 0: before the first product; else after the i-th
template <class T, class Task>
__global__ void __launch_bounds__(octet * most_octets, 1)
    walk_kernel(const __grid_constant__ Task task, const __grid_constant__ Walk walk, const T* __restrict__ packed, T* exchanged) {
  constexpr int groups = Task::groups;
  Shared shared;
  auto tile = shared.take<T>(walk.tile());
  auto held = shared.take<T>(walk.held());

  const int thread = static_cast<int>(threadIdx.x), threads = walk.octets * octet;
  const int lane = thread % octet, own = thread / octet;
  const int team = static_cast<int>(blockIdx.x) / walk.members, member = static_cast<int>(blockIdx.x) % walk.members;
  const int first_unit = member * walk.units, rest = walk.width - first_unit, count = rest < walk.units ? rest : walk.units;
  const Index first_row = Index(team) * walk.rows, rows_left = walk.samples - first_row;
  const int rows = static_cast<int>(rows_left < walk.rows ? rows_left : walk.rows), longest = walk.longest();

  int places[most_stages] = {};  // of a stage's held weights
  for (int s = 0, place = 0; s < walk.stages && walk.is_held; ++s) {
    const StepProduct& product = walk.products[s];
    const T* from = packed + product.packed + Index(first_unit) * product.unit;
    for (int i = thread; i < count * product.unit; i += threads) held[place + i] = from[i];
    places[s] = place;
    place += walk.units * product.unit;
  }
  for (int k = thread; k < walk.tile(); k += threads) tile[k] = T(0);  // rows that are not there
  __syncthreads();

  for (Index i = 0; i <= walk.turns; ++i) {
    const int stage = walk.stages == 1 || i % 2 == 1 ? 0 : 1;
    const StepProduct& product = walk.products[stage];
    const int now = static_cast<int>(i & 1);  // where v is left; that of the turn before is read meanwhile
    if (i > 0) {
      if (walk.is_alone)
        __syncthreads();
      else
        sync_grid();
    }
    for (int top = 0; top < rows; top += octet) {
      const int here = rows - top < octet ? rows - top : octet;
      const int share = here == 1 ? octet : here == 2 ? octet / 2 : 1;  // lanes that a row's sum is left in
      const int row = lane / share;
      const Index n = first_row + top + row;
      for (int pass = 0; pass < walk.units; pass += walk.octets) {
        const int unit = pass + own;
        const bool is_there = unit < count;
        T sums[groups][octet] = {}, own_sums[groups] = {};
        // The sums of R rows from `top` on, in the units of the pass.
        const auto sum = [&](auto number) {
          constexpr int R = decltype(number)::value;
          for (int begin = 0; begin < product.length; begin += walk.staged) {
            const int end = begin + walk.staged < product.length ? begin + walk.staged : product.length;
            if (!walk.is_alone && (pass == 0 || product.length > walk.staged)) {
              __syncthreads();  // nobody reads the last numbers any more
              for (int r = 0; r < here; ++r) {
                const T* from = exchanged + ((1 - now) * walk.samples + first_row + top + r) * longest;
                for (int k = begin + thread; k < end; k += threads) tile[r * walk.staged + k - begin] = from_others(from + k);
              }
              __syncthreads();
            }
            if (!is_there) continue;
            const int shift = walk.is_alone ? (1 - now) * walk.slots() * walk.staged : 0;
            if (walk.is_held) {
              const int at = places[stage] + unit * product.unit;
              add_terms<R, groups, T>(product, [&](int k) -> T { return held[at + k]; }, tile, walk.staged, begin, end, shift, lane, sums);
            } else {
              const T* at = packed + product.packed + Index(first_unit + unit) * product.unit;
              add_terms<R, groups, T>(product, [&](int k) -> T { return at[k]; }, tile, walk.staged, begin, end, shift, lane, sums);
            }
          }
          UNROLL
          for (int g = 0; g < groups; ++g)
            if (g < product.groups) own_sums[g] = sum_of_own_row<R>(sums[g], lane);
        };
        if (i > 0) {
          if (here == 1)
            sum(std::integral_constant<int, 1>{});
          else if (here == 2)
            sum(std::integral_constant<int, 2>{});
          else
            sum(std::integral_constant<int, octet>{});
        }
        if (!is_there || row >= here || lane % share != 0) continue;
        const Put<T> put{tile, (now * walk.slots() + row) * walk.staged,
                         walk.is_alone ? nullptr : exchanged + (now * walk.samples + n) * longest};
        task.turn(i, n, first_unit + unit, own_sums, put);  // once: a rule chosen at run time is much code
      }
    }
  }
}

// ── rules on the way back ──

#define FOR_EACH_LOWERING(_) \
  _(Epsilon) _(EpsilonAlone) _(GammaRaised) _(GammaBySign) _(GammaBySize) _(AlphaBeta) _(ZPlus) _(WSquare) _(Flat) _(ZBox) _(Norm)

// Any lowering of a rule, chosen at run time: in a walk it is a small part of a step, and one kernel does for all.
template <class T>
class Lowering {
  enum class Kind {
#define RELPROP_ITEM(Rule) Rule,
    FOR_EACH_LOWERING(RELPROP_ITEM)
#undef RELPROP_ITEM
  };
  Kind kind_;
  union {
#define RELPROP_ITEM(Rule) math::Rule<T> as_##Rule;
    FOR_EACH_LOWERING(RELPROP_ITEM)
#undef RELPROP_ITEM
  };

 public:
  static constexpr int most_parts = 6, most_denominators = 2;

#define RELPROP_ITEM(Rule)                                                                                               \
  explicit Lowering(const math::Rule<T>& rule) : kind_(Kind::Rule), as_##Rule(rule) {                                   \
    static_assert(math::Rule<T>::max_parts <= most_parts && math::Rule<T>::denominators <= most_denominators, "no room"); \
  }
  FOR_EACH_LOWERING(RELPROP_ITEM)
#undef RELPROP_ITEM

  template <class F>
  HD void with(F&& f) const {
    switch (kind_) {
#define RELPROP_ITEM(Rule) \
  case Kind::Rule: return f(as_##Rule);
      FOR_EACH_LOWERING(RELPROP_ITEM)
#undef RELPROP_ITEM
    }
  }
};

// An affine map in each step, and a rule on it: z = x w_x + y w_y + b, or x w_x + y + b where it is elementwise. Sums
// are known before the walk, for all steps at once; relevance of x is wanted after it, for all steps at once.
template <class T>
struct StepMap {
  static constexpr int most_parts = Lowering<T>::most_parts, most_denominators = Lowering<T>::most_denominators;

  Lowering<T> rule;
  int parts;
  math::Part part[most_parts];
  Steps<const T> z[most_parts];        // without data: 0
  math::Factor bias_of[most_parts];    // still to be added to z
  bool is_summed_here[most_parts];     // y too, where the map is elementwise
  T* shares[most_parts];               // (samples · steps, columns), or null
  int place[most_parts];               // in v, or -1
  Steps<const T> y;
  bool is_elementwise;
  Constants<T> constants;  // of y
  const T* b;
  Index steps;
  int width, columns;  // columns come in runs of width, which are samples of their own to a stabiliser
  const T* squares;    // mean squares of denominators, per step and run, or null
  T* bias;             // the account's, or null
  Index bias_stride;

  HD void sums(Index n, Index t, int column, T* out) const {
    UNROLL
    for (int p = 0; p < most_parts; ++p) {
      out[p] = T(0);
      if (p >= parts) continue;
      if (z[p].data) out[p] = z[p].at(n, t)[column];
      if (is_summed_here[p])
        out[p] = out[p] + input_part(part[p].input, y.at(n, t)[column], column, constants) *
                              math::apply(part[p].weight, T(1), constants.gamma);
      if (bias_of[p] != Factor::none) out[p] = out[p] + math::apply(bias_of[p], b[column], constants.gamma);
    }
  }

  // The shares of R at a column, left where they are needed; kept: by the stabiliser and dropped, or null.
  template <class P>
  HD void split(Index n, Index t, int column, T R, const P& put, double* kept, T* s) const {
    T of[most_parts];
    sums(n, t, column, of);
    const Index row = n * steps + t;
    T mean[most_denominators] = {};
    if (squares)
      for (int k = 0; k < most_denominators; ++k)
        mean[k] = squares[(row * (columns / width) + column / width) * most_denominators + k];
    for (int p = 0; p < most_parts; ++p) s[p] = T(0);
    rule.with([&](const auto& one) {
      T e[most_denominators], by_stabilizer, dropped;
      for (int k = 0; k < most_denominators; ++k) e[k] = math::acting_epsilon(one.epsilon, one.stabilizer, mean[k]);
      one.split(R, of, e, s);
      if (!kept) return;
      one.kept(R, of, e, by_stabilizer, dropped);
      kept[0] += static_cast<double>(by_stabilizer);
      kept[1] += static_cast<double>(dropped);
    });
    T of_bias(0);
    UNROLL
    for (int p = 0; p < most_parts; ++p) {
      if (p >= parts) continue;
      if (shares[p]) shares[p][row * columns + column] = s[p];
      if (place[p] >= 0) put(place[p] + column, s[p]);
      if (bias && b && part[p].is_carried && part[p].bias != Factor::none)
        of_bias = of_bias + math::apply(part[p].bias, b[column], constants.gamma) * s[p];
    }
    if (bias && b) bias[n * bias_stride + column] += of_bias;
  }
  // No relevance at a column.
  template <class P>
  HD void skip(Index n, Index t, int column, const P& put) const {
    UNROLL
    for (int p = 0; p < most_parts; ++p) {
      if (p >= parts) continue;
      if (shares[p]) shares[p][(n * steps + t) * columns + column] = T(0);
      if (place[p] >= 0) put(place[p] + column, T(0));
    }
  }
  // The relevance of y where the map is elementwise.
  HD T carry_element(Index n, Index t, int column, const T* s) const {
    T r(0);
    UNROLL
    for (int p = 0; p < most_parts; ++p)
      if (p < parts && part[p].is_carried && part[p].input != Factor::none)
        r = r + input_part(part[p].input, y.at(n, t)[column], column, constants) *
                    (math::apply(part[p].weight, T(1), constants.gamma) * s[p]);
    return r;
  }
};

// What the sums of a walk's product are multiplied by: y in step t of sample n.
template <class T>
struct Back {
  int groups;
  Factor input[most_sums];
  Steps<const T> y;
  Constants<T> constants;
  HD T relevance(Index n, Index t, int j, const T* sums) const {
    T r(0);
    UNROLL
    for (int g = 0; g < most_sums; ++g)
      if (g < groups) r = r + input_part(input[g], y.at(n, t)[j], j, constants) * sums[g];
    return r;
  }
};

// The arrays of a StepMap.
template <class T>
struct StepLayer {
  const T* x;  // without gaps
  const T *w_x = nullptr, *w_y = nullptr;  // null: none; elementwise
  Index w_stride;
  Steps<const T> y;
  const T* y_packed;  // the same without gaps, or null: made where it is needed
  const T* b;
  int width, columns;
  Steps<const T> z;
  T* bias = nullptr;
  Index bias_stride = 0;
};

// A rule on a StepMap before and after the walk.
template <class T>
class StepRelevance {
 public:
  StepRelevance(const char* operation, Stream stream, const RecurrentSize& size, const RecurrentBounds<T>& bounds,
                const StepLayer<T>& layer, const AnyRule<T>& rule);
  const StepMap<T>& map() const { return map_; }
  // R_x (+)= the relevance of x.
  void carry_x(T* R_x, bool add) const;

  // The carried parts of maps of the same y as one product of a walk, and how its sums become relevance of y.
  static Back<T> enter(Walk& walk, int stage, const std::vector<StepRelevance*>& maps);
  // Their weights, once the walk is finished.
  static void pack(const Walk& walk, int stage, const std::vector<StepRelevance*>& maps, T* packed);

 private:
  bool is_carried(int p) const { return p < map_.parts && map_.part[p].is_carried && map_.part[p].input != Factor::none; }
  static std::vector<Factor> inputs_of(const std::vector<StepRelevance*>& maps);

  const char* operation_;
  Stream stream_;
  RecurrentSize size_;
  StepLayer<T> layer_;
  Constants<T> of_x_;
  StepMap<T> map_;
  Numbers<T> sums_[Lowering<T>::most_parts], shares_[Lowering<T>::most_parts], squares_, y_packed_;
};

// ε and the stabiliser of a rule, which the Norm of sums of states shares.
template <class T>
struct StateNorm {
  T epsilon = 0;
  math::Stabilizer stabilizer = math::Stabilizer::add;
  const T* squares = nullptr;  // mean squares of the sum, per step; null where they are not needed
  HD T on(Index row) const { return math::acting_epsilon(epsilon, stabilizer, squares ? squares[row] : T(0)); }
};
template <class T>
StateNorm<T> state_norm(const AnyRule<T>& rule);

// A state in every step.
template <class T>
struct States {
  static constexpr int count = 1;
  Index steps;
  Steps<const T> state;
  HD void operator()(Index row, int j, T* values) const { values[0] = state.at(row / steps, row % steps)[j]; }
};

// Mean squares over `width` numbers, one warp each.
template <class T, class F>
__global__ void mean_squares_kernel(const F f, Index rows, int width, T* out) {
  const Index row = (Index(blockIdx.x) * blockDim.x + threadIdx.x) / warp;
  const int lane = static_cast<int>(threadIdx.x) % warp;
  if (row >= rows) return;
  T sums[F::count] = {};
  for (int j = lane; j < width; j += warp) {
    T v[F::count];
    f(row, j, v);
    for (int k = 0; k < F::count; ++k) sums[k] = sums[k] + v[k] * v[k];
  }
  for (int k = 0; k < F::count; ++k) {
    const T sum = warp_sum(sums[k]);
    if (lane == 0) out[row * F::count + k] = sum / static_cast<T>(width);
  }
}

// count numbers for each row: f(row, j, values)
template <class T, class F>
Numbers<T> mean_squares(const char* operation, Stream stream, const F& f, Index rows, int width) {
  constexpr int threads = 256;
  Numbers<T> out(operation, rows * F::count, stream);
  if (width > 0)
    launch(operation, stream, {blocks(rows, threads / warp), threads}, &mean_squares_kernel<T, F>, f, rows, width, out.data());
  return out;
}

// The account of a walk: what each unit keeps, then per sample. Nothing where nobody asks.
template <class T>
class KeptByUnits {
 public:
  KeptByUnits(const char* operation, Stream stream, const RecurrentSize& size, const Account<T>* account, Index columns)
      : operation_(operation), stream_(stream), size_(size), account_(account) {
    if (!account) return;
    kept_ = Numbers<double>(operation, 2 * size.samples * size.width, stream);
    clear(operation, kept_.data(), kept_.bytes(), stream);
    if (account->bias) clear(operation, account->bias, sizeof(T) * static_cast<std::size_t>(size.samples * columns), stream);
  }
  double* data() const { return kept_.data(); }  // two per unit
  void write() const {
    if (account_)
      finish<double, T>(operation_, stream_, kept_.data(), size_.samples, size_.width, 2, 1, account_->stabilizer, account_->dropped);
  }

 private:
  const char* operation_;
  Stream stream_;
  RecurrentSize size_;
  const Account<T>* account_;
  Numbers<double> kept_;
};

template <class T, class Task>
void launch_walk(const char* operation, Stream stream, const Task& task, Walk walk, const T* packed) {
  if (walk.samples == 0 || walk.width == 0) return;
  auto* kernel = &walk_kernel<T, Task>;
  spread(operation, reinterpret_cast<const void*>(kernel), sizeof(T), walk);
  const Shape shape{dim3(static_cast<unsigned>(walk.teams * walk.members)), dim3(static_cast<unsigned>(walk.octets * octet)),
                    room<T>(room<T>(0, walk.tile()), walk.held())};
  for (int s = 0; s < walk.stages; ++s)
    for (int g = 0; g < walk.products[s].groups; ++g)
      count_product(2 * walk.samples * (walk.turns / walk.stages) * walk.width * walk.products[s].depth[g]);
  if (walk.is_alone) return launch(operation, stream, shape, kernel, task, walk, packed, static_cast<T*>(nullptr));
  const Numbers<T> exchanged(operation, 2 * walk.samples * walk.longest(), stream);
  launch_together(operation, stream, shape, kernel, task, walk, packed, exchanged.data());
}

}  // namespace relprop::cuda
