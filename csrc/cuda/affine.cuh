// The tiled matrix product of an affine map, for any reading of its operands and any use of its sums.
//
//   C_p(row, column) = Σ_k A_p(row, k) · B_p(k, column)           p: the slots that one pass over x and w sums
//
// Rows are the positions of all samples, columns the channels of a group, and k runs over channels and taps. A Task
// reads A and B, forming their parts in registers on the way to shared memory, and takes the sums of a row and column.
// No formula is written here: parts and shares come from math/rules.
#pragma once

#include <type_traits>

#include "cuda/affine.h"
#include "machine/cuda/block.cuh"
#include "machine/cuda/launch.cuh"
#include "machine/cuda/tensor.cuh"

namespace relprop::cuda {

// One direction of an affine map, as a product. Strides are in elements.
struct Product {
  Index samples;
  int groups, columns, channels;  // columns of C, channels of A, in a group
  int count[3];                   // rows of a sample, per axis
  int origin[3], pace[3];         // row p begins to read at p · pace + origin
  int kernel[3], apart[3];        // tap k reads k · apart further
  int limit[3], step[3];          // place t is there if t / step is whole and below limit
  Index a_sample, c_sample;
  int a_channel, a_place[3], c_channel, c_position;
  Index w_group, w_channel, w_column, w_tap;
  bool edges;
};

// z from x; `back`: what goes back to x from the shape of z. Who looks is at a place of its own and reads what its
// window sees; who does not gathers from all whose windows saw it.
inline Product direction(const AffineMap& m, bool back) {
  const bool looks = m.transposed == back;
  const int *from = back ? m.counts : m.lengths, *to = back ? m.lengths : m.counts;
  Product p{};
  p.samples = m.samples;
  p.groups = m.groups;
  p.columns = back ? m.inputs : m.outputs;
  p.channels = back ? m.outputs : m.inputs;
  p.edges = m.edges;
  for (int d = 0; d < 3; ++d) {
    p.count[d] = to[d];
    p.origin[d] = looks ? -m.before[d] : m.before[d];
    p.pace[d] = looks ? m.stride[d] : 1;
    p.kernel[d] = m.kernel[d];
    p.apart[d] = looks ? m.dilation[d] : -m.dilation[d];
    p.limit[d] = from[d];
    p.step[d] = looks ? 1 : m.stride[d];
  }
  const int from_channels = m.groups * p.channels, to_channels = m.groups * p.columns;
  const int from_places = from[0] * from[1] * from[2], to_places = to[0] * to[1] * to[2];
  const int along = m.channels_last ? from_channels : 1;
  p.a_sample = back ? m.z_size() : m.x_size();
  p.a_channel = m.channels_last ? 1 : from_places;
  p.a_place[2] = along;
  p.a_place[1] = along * from[2];
  p.a_place[0] = along * from[2] * from[1];
  p.c_sample = back ? m.x_size() : m.z_size();
  p.c_channel = m.channels_last ? 1 : to_places;
  p.c_position = m.channels_last ? to_channels : 1;
  p.w_group = m.w_group;
  p.w_channel = back ? m.w_output : m.w_input;
  p.w_column = back ? m.w_input : m.w_output;
  p.w_tap = m.w_tap;
  return p;
}

inline Product sum_of(const AffineMap& map) { return direction(map, false); }
inline Product carry_of(const AffineMap& map) { return direction(map, true); }

// A type as an argument.
template <class Of>
struct Type {
  using type = Of;
};

// One number per slot, together in memory so that a thread reads them at once.
template <class T, int P>
struct alignas(P == 2 || P == 4 ? (P * sizeof(T) < 16 ? P * sizeof(T) : 16) : sizeof(T)) Slots {
  T at[P];
};

// An Engine says how a block cuts up C and k, holds a tile of A and one of B in shared memory, and sums their product:
//   threads, rows, columns, depth     of a block
//   blocks_at_once                    that a processor must have registers for
//   static room(used)                 shared memory that its tiles take
//   set_a(k, row, value), set_b(k, column, value)
//   add_product(most)                 k < most of the tiles; all threads, between barriers
//   for_each_sum(f)                   f(row, column, sums) for those that this thread holds

// Multiply-adds of the processor's own. More slots take more registers, so a thread then sums fewer columns.
template <class T, int P>
class PlainEngine {
  static constexpr int side = 16, thread_rows = 4, thread_columns = P > 2 ? 2 : 4;

 public:
  static constexpr int threads = side * side, rows = side * thread_rows, columns = side * thread_columns, blocks_at_once = 2;
  static constexpr int depth = P * sizeof(T) <= 8 ? 16 : 8;

 private:
  static constexpr int row_pitch = rows + 1, column_pitch = columns + 1;  // one more: no two rows begin in the same bank

  Tile<Slots<T, P>> A_, B_;
  int own_row_, own_column_;
  Slots<T, P> sums_[thread_rows][thread_columns] = {};

 public:
  static std::size_t room(std::size_t used) {
    return cuda::room<Slots<T, P>>(cuda::room<Slots<T, P>>(used, depth * row_pitch), depth * column_pitch);
  }
  __device__ PlainEngine(Shared& shared, bool c_along_rows, Precision)
      : A_(shared.take<Slots<T, P>>(depth * row_pitch)), B_(shared.take<Slots<T, P>>(depth * column_pitch)) {
    const int thread = static_cast<int>(threadIdx.x), lane = thread % side, line = thread / side;
    own_row_ = c_along_rows ? lane : line;
    own_column_ = c_along_rows ? line : lane;
  }
  __device__ void set_a(int k, int row, const Slots<T, P>& value) { A_[k * row_pitch + row] = value; }
  __device__ void set_b(int k, int column, const Slots<T, P>& value) { B_[k * column_pitch + column] = value; }

  __device__ void add_product(int most) {
    for (int k = 0; k < most; ++k) {
      Slots<T, P> a[thread_rows], b[thread_columns];
      UNROLL
      for (int i = 0; i < thread_rows; ++i) a[i] = A_[k * row_pitch + own_row_ + i * side];
      UNROLL
      for (int j = 0; j < thread_columns; ++j) b[j] = B_[k * column_pitch + own_column_ + j * side];
      UNROLL
      for (int i = 0; i < thread_rows; ++i) {
        UNROLL
        for (int j = 0; j < thread_columns; ++j) {
          UNROLL
          for (int p = 0; p < P; ++p) sums_[i][j].at[p] = multiply_add(a[i].at[p], b[j].at[p], sums_[i][j].at[p]);
        }
      }
    }
  }
  template <class F>
  __device__ void for_each_sum(F&& f) const {
    UNROLL
    for (int i = 0; i < thread_rows; ++i) {
      UNROLL
      for (int j = 0; j < thread_columns; ++j) f(own_row_ + i * side, own_column_ + j * side, sums_[i][j]);
    }
  }
};

// Tensor cores, for float. Each warp sums fragments of 16 rows and 8 columns; a tile has a plane for each slot.
//
//   float32   a b = (a_high + a_low)(b_high + b_low) without a_low b_low, each half in tf32: three products
//   tf32, bf16   one product of rounded numbers
//
// The cores cut a sum off where a processor rounds it, an error that would grow with k; so they sum one step of k alone,
// and the processor adds that to the rest.
template <int P>
class TensorEngine {
  static constexpr int warps_down = 4, warps_across = 2;
  static constexpr int tall = P > 2 ? 1 : 2, wide = P > 1 ? 4 : 8;  // fragments of a warp

 public:
  static constexpr int threads = warp * warps_down * warps_across, blocks_at_once = 1;
  static constexpr int rows = 16 * tall * warps_down, columns = 8 * wide * warps_across, depth = 16;

 private:
  static constexpr int row_pitch = rows + 8, column_pitch = columns + 8;  // a fragment's lanes meet 32 banks

  Tile<float> A_, B_;
  Precision precision_;
  int first_row_, first_column_, g_, t_;
  float sums_[tall][wide][P][4] = {};

 public:
  static std::size_t room(std::size_t used) {
    return cuda::room<float>(cuda::room<float>(used, P * depth * row_pitch), P * depth * column_pitch);
  }
  __device__ TensorEngine(Shared& shared, bool, Precision precision)
      : A_(shared.take<float>(P * depth * row_pitch)), B_(shared.take<float>(P * depth * column_pitch)), precision_(precision) {
    const int thread = static_cast<int>(threadIdx.x), own_warp = thread / warp;
    first_row_ = own_warp / warps_across * 16 * tall;
    first_column_ = own_warp % warps_across * 8 * wide;
    g_ = thread % warp / 4;
    t_ = thread % 4;
  }
  __device__ void set_a(int k, int row, const Slots<float, P>& value) {
    UNROLL
    for (int p = 0; p < P; ++p) A_[(p * depth + k) * row_pitch + row] = value.at[p];
  }
  __device__ void set_b(int k, int column, const Slots<float, P>& value) {
    UNROLL
    for (int p = 0; p < P; ++p) B_[(p * depth + k) * column_pitch + column] = value.at[p];
  }

  // Beyond `most` the tiles hold zeros.
  __device__ void add_product(int most) {
    UNROLL
    for (int p = 0; p < P; ++p) {
      if (precision_ == Precision::bf16)
        add_bf16(p);
      else
        for (int k = 0; k < most; k += 8) add_tf32(p, k, precision_ == Precision::float32);
    }
  }
  template <class F>
  __device__ void for_each_sum(F&& f) const {
    UNROLL
    for (int i = 0; i < tall; ++i) {
      UNROLL
      for (int j = 0; j < wide; ++j) {
        UNROLL
        for (int e = 0; e < 4; ++e) {
          Slots<float, P> sums;
          for (int p = 0; p < P; ++p) sums.at[p] = sums_[i][j][p][e];
          f(first_row_ + 16 * i + g_ + e / 2 * 8, first_column_ + 8 * j + 2 * t_ + e % 2, sums);
        }
      }
    }
  }

 private:
  __device__ float a(int p, int k, int row) const { return A_[(p * depth + k) * row_pitch + first_row_ + row]; }
  __device__ float b(int p, int k, int column) const { return B_[(p * depth + k) * column_pitch + first_column_ + column]; }

  // A step of 8 in tf32; with rests, what tf32 leaves out of a and of b too.
  __device__ void add_tf32(int p, int k, bool with_rests) {
    float high_b[wide][2], low_b[wide][2];
    UNROLL
    for (int j = 0; j < wide; ++j) {
      UNROLL
      for (int e = 0; e < 2; ++e) {
        const float v = b(p, k + t_ + 4 * e, 8 * j + g_);
        high_b[j][e] = tensor::to_tf32(v);
        low_b[j][e] = tensor::tf32_rest(v, high_b[j][e]);
      }
    }
    UNROLL
    for (int i = 0; i < tall; ++i) {
      float high_a[4], low_a[4];
      UNROLL
      for (int e = 0; e < 4; ++e) {
        const float v = a(p, k + t_ + e / 2 * 4, 16 * i + g_ + e % 2 * 8);
        high_a[e] = tensor::to_tf32(v);
        low_a[e] = tensor::tf32_rest(v, high_a[e]);
      }
      UNROLL
      for (int j = 0; j < wide; ++j) {
        float step[4] = {}, rest[4] = {};
        if (with_rests) {
          multiply_tf32(rest, low_a, high_b[j]);
          multiply_tf32(rest, high_a, low_b[j]);
        }
        multiply_tf32(step, high_a, high_b[j]);
        UNROLL
        for (int e = 0; e < 4; ++e) {
          // Where a number is infinite, 0 times it stands in the rest and not in the step.
          if (with_rests && tensor::is_finite(rest[e])) step[e] = step[e] + rest[e];
          sums_[i][j][p][e] = sums_[i][j][p][e] + step[e];
        }
      }
    }
  }

  // All 16 in bf16.
  __device__ void add_bf16(int p) {
    tensor::Word part_b[wide][2];
    UNROLL
    for (int j = 0; j < wide; ++j) {
      UNROLL
      for (int e = 0; e < 2; ++e) part_b[j][e] = tensor::to_bf16(b(p, 2 * t_ + 8 * e, 8 * j + g_), b(p, 2 * t_ + 8 * e + 1, 8 * j + g_));
    }
    UNROLL
    for (int i = 0; i < tall; ++i) {
      tensor::Word part_a[4];
      UNROLL
      for (int e = 0; e < 4; ++e) {
        const int k = 2 * t_ + e / 2 * 8, row = 16 * i + g_ + e % 2 * 8;
        part_a[e] = tensor::to_bf16(a(p, k, row), a(p, k + 1, row));
      }
      UNROLL
      for (int j = 0; j < wide; ++j) {
        float step[4] = {};
        multiply_bf16(step, part_a, part_b[j]);
        UNROLL
        for (int e = 0; e < 4; ++e) sums_[i][j][p][e] = sums_[i][j][p][e] + step[e];
      }
    }
  }
};

// Where a row reads from, and where a k does.
struct Row {
  Index sample;  // -1 beyond the last row
  int at[3];
};
struct Step {
  int channel, shift[3];
  Index weight;
};

// The tables of where rows read from, and of where two steps of k do: this one's and the next one's.
template <class Engine>
std::size_t product_room() {
  return Engine::room(room<Step>(room<Row>(0, Engine::rows), 2 * Engine::depth));
}

// Where a step of k reads from.
HD Step step_at(const Product& g, int k) {
  const int taps = g.kernel[0] * g.kernel[1] * g.kernel[2], channel = k / taps;
  int tap = k % taps;
  Step step{channel * g.a_channel, {}, channel * g.w_channel + tap * g.w_tap};
  for (int d = 2; d >= 0; --d) {
    step.shift[d] = tap % g.kernel[d] * g.apart[d];
    tap /= g.kernel[d];
  }
  return step;
}

// Adds to `place` where a row reads at a step; false where nothing is there.
HD bool meets(const Product& g, const Row& row, const Step& step, int& place) {
  bool inside = row.sample >= 0;
  for (int d = 0; d < 3; ++d) {
    int t = row.at[d] + step.shift[d];
    inside = inside && t >= 0;
    if (g.step[d] > 1) {
      inside = inside && t % g.step[d] == 0;
      t /= g.step[d];
    }
    inside = inside && t < g.limit[d];
    place += t * g.a_place[d];
  }
  return inside;
}

// A Task has
//   product                               its geometry
//   read(sample, place)                   A: the slots of an element of the array that rows read
//   weights(w)                            B: the slots of an element of w
//   write(sample, channel, place, sums)   C: place is the element's offset in its sample
//
// While the tiles of one step of k are multiplied, the numbers of the next are on their way from memory to registers.
template <class T, int P, class Engine, class Task>
__global__ void __launch_bounds__(Engine::threads, Engine::blocks_at_once) product_kernel(const Task task, const T* __restrict__ w, Precision precision) {
  constexpr int threads = Engine::threads, tile_rows = Engine::rows, tile_columns = Engine::columns, tile_depth = Engine::depth;
  constexpr int of_a = tile_rows * tile_depth / threads, of_b = tile_columns * tile_depth / threads;
  static_assert(of_a * threads == tile_rows * tile_depth && of_b * threads == tile_columns * tile_depth);
  const Product& g = task.product;
  const int thread = static_cast<int>(threadIdx.x), group = static_cast<int>(blockIdx.z);
  const int taps = g.kernel[0] * g.kernel[1] * g.kernel[2], depth = g.channels * taps;
  const Index positions = Index(g.count[0]) * g.count[1] * g.count[2];
  const Index first_row = Index(blockIdx.x) * tile_rows;
  const int first_column = static_cast<int>(blockIdx.y) * tile_columns;
  // Neighbouring threads read, and write, what lies side by side in memory.
  const bool a_along_k = g.a_channel == 1 && taps == 1, b_along_k = g.w_column != 1;

  Shared shared;
  auto rows = shared.take<Row>(tile_rows);
  auto steps = shared.take<Step>(2 * tile_depth);
  Engine engine(shared, g.c_position == 1 && positions > 1, precision);

  for (int r = thread; r < tile_rows; r += threads) {
    const Index row = first_row + r;
    Row here{row < g.samples * positions ? row / positions : -1, {}};
    Index rest = row % positions;
    for (int d = 2; d >= 0; --d) {
      here.at[d] = static_cast<int>(rest % g.count[d]) * g.pace[d] + g.origin[d];
      rest /= g.count[d];
    }
    rows[r] = here;
  }
  for (int k = thread; k < tile_depth; k += threads) steps[k] = step_at(g, k);
  __syncthreads();

  // Element e of this thread in a tile: its k, and its row or column.
  const auto k_of = [&](bool along_k, int e, int side) { return along_k ? (e * threads + thread) % tile_depth : (e * threads + thread) / side; };
  const auto other_of = [&](bool along_k, int e, int side) { return along_k ? (e * threads + thread) / tile_depth : (e * threads + thread) % side; };

  Slots<T, P> coming_a[of_a];
  T coming_b[of_b];
  const auto fetch = [&](int first, int turn) {
    UNROLL
    for (int e = 0; e < of_a; ++e) {
      const int k = k_of(a_along_k, e, tile_rows);
      const Row row = rows[other_of(a_along_k, e, tile_rows)];
      const Step step = steps[turn * tile_depth + k];
      int place = group * g.channels * g.a_channel + step.channel;
      coming_a[e] = {};  // what is not there adds nothing, whatever a part makes of 0
      if (meets(g, row, step, place) && first + k < depth) coming_a[e] = task.read(row.sample, place);
    }
    UNROLL
    for (int e = 0; e < of_b; ++e) {
      const int k = k_of(b_along_k, e, tile_columns), column = first_column + other_of(b_along_k, e, tile_columns);
      const Step step = steps[turn * tile_depth + k];
      coming_b[e] = first + k < depth && column < g.columns ? w[group * g.w_group + column * g.w_column + step.weight] : T(0);
    }
  };

  if (depth > 0) fetch(0, 0);
  for (int first = 0, turn = 0; first < depth; first += tile_depth, turn ^= 1) {
    UNROLL
    for (int e = 0; e < of_a; ++e) engine.set_a(k_of(a_along_k, e, tile_rows), other_of(a_along_k, e, tile_rows), coming_a[e]);
    UNROLL
    for (int e = 0; e < of_b; ++e) {
      const int k = k_of(b_along_k, e, tile_columns), c = other_of(b_along_k, e, tile_columns);
      engine.set_b(k, c, first + k < depth && first_column + c < g.columns ? task.weights(coming_b[e]) : Slots<T, P>{});
    }
    const int next = first + tile_depth;
    if (next < depth)
      for (int k = thread; k < tile_depth; k += threads) steps[(turn ^ 1) * tile_depth + k] = step_at(g, next + k);
    __syncthreads();  // the tiles are there
    if (next < depth) fetch(next, turn ^ 1);
    engine.add_product(depth - first < tile_depth ? depth - first : tile_depth);
    __syncthreads();  // nobody reads them any more
  }

  engine.for_each_sum([&](int tile_row, int tile_column, const Slots<T, P>& sums) {
    const Index row = first_row + tile_row, sample = row / positions;
    const int position = static_cast<int>(row % positions);
    const int column = first_column + tile_column, channel = group * g.columns + column;
    if (row < g.samples * positions && column < g.columns)
      task.write(sample, channel, channel * g.c_channel + position * g.c_position, sums);
  });
}

template <class T, int P, class Task>
void launch_product(const Product& g, const char* operation, Stream stream, const Task& task, const T* w) {
  const Index rows = g.samples * g.count[0] * g.count[1] * g.count[2];
  const Precision precision = product_precision();
  const auto start = [&](auto chosen) {
    using Engine = typename decltype(chosen)::type;
    const Shape shape{dim3(blocks(rows, Engine::rows), blocks(g.columns, Engine::columns), static_cast<unsigned>(g.groups)),
                      dim3(Engine::threads), product_room<Engine>()};
    launch(operation, stream, shape, &product_kernel<T, P, Engine, Task>, task, w, precision);
  };
  if constexpr (std::is_same_v<T, float>) {
    if (precision == Precision::plain)
      start(Type<PlainEngine<T, P>>{});
    else
      start(Type<TensorEngine<P>>{});
  } else {
    start(Type<PlainEngine<T, P>>{});
  }
  for (int p = 0; p < P; ++p)
    count_product(2 * rows * g.columns * g.groups * g.channels * g.kernel[0] * g.kernel[1] * g.kernel[2]);
}

}  // namespace relprop::cuda
