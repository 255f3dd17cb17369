// The tiled matrix product of an affine map, for any reading of its operands and any use of its sums.
//
//   C_p(row, column) = Σ_k A_p(row, k) · B_p(k, column)           p: the slots that one pass over x and w sums
//
// Rows are the positions of all samples, columns the channels of a group, and k runs over channels and taps. A Task
// reads A and B, forming their parts in registers on the way to shared memory, and takes the sums of a row and column.
// No formula is written here: parts and shares come from math/rules.
#pragma once

#include "cuda/affine.h"
#include "machine/cuda/block.cuh"
#include "machine/cuda/launch.cuh"

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
};

// z from x
inline Product sum_of(const AffineMap& m) {
  Product p{};
  p.samples = m.samples;
  p.groups = m.groups;
  p.columns = m.outputs;
  p.channels = m.inputs;
  for (int d = 0; d < 3; ++d) {
    p.count[d] = m.counts[d];
    p.origin[d] = -m.before[d];
    p.pace[d] = m.stride[d];
    p.kernel[d] = m.kernel[d];
    p.apart[d] = m.dilation[d];
    p.limit[d] = m.lengths[d];
    p.step[d] = 1;
  }
  const int x_channels = m.groups * m.inputs, z_channels = m.groups * m.outputs;
  const int places = static_cast<int>(m.places()), positions = static_cast<int>(m.positions());
  const int along = m.channels_last ? x_channels : 1;
  p.a_sample = m.x_size();
  p.a_channel = m.channels_last ? 1 : places;
  p.a_place[2] = along;
  p.a_place[1] = along * m.lengths[2];
  p.a_place[0] = along * m.lengths[2] * m.lengths[1];
  p.c_sample = m.z_size();
  p.c_channel = m.channels_last ? 1 : positions;
  p.c_position = m.channels_last ? z_channels : 1;
  p.w_group = m.w_group;
  p.w_channel = m.w_input;
  p.w_column = m.w_output;
  p.w_tap = m.w_tap;
  return p;
}

// What goes back to x from the shape of z: each place gathers from the positions that met it.
inline Product carry_of(const AffineMap& m) {
  Product p{};
  p.samples = m.samples;
  p.groups = m.groups;
  p.columns = m.inputs;
  p.channels = m.outputs;
  for (int d = 0; d < 3; ++d) {
    p.count[d] = m.lengths[d];
    p.origin[d] = m.before[d];
    p.pace[d] = 1;
    p.kernel[d] = m.kernel[d];
    p.apart[d] = -m.dilation[d];
    p.limit[d] = m.counts[d];
    p.step[d] = m.stride[d];
  }
  const int x_channels = m.groups * m.inputs, z_channels = m.groups * m.outputs;
  const int places = static_cast<int>(m.places()), positions = static_cast<int>(m.positions());
  const int along = m.channels_last ? z_channels : 1;
  p.a_sample = m.z_size();
  p.a_channel = m.channels_last ? 1 : positions;
  p.a_place[2] = along;
  p.a_place[1] = along * m.counts[2];
  p.a_place[0] = along * m.counts[2] * m.counts[1];
  p.c_sample = m.x_size();
  p.c_channel = m.channels_last ? 1 : places;
  p.c_position = m.channels_last ? x_channels : 1;
  p.w_group = m.w_group;
  p.w_channel = m.w_output;
  p.w_column = m.w_input;
  p.w_tap = m.w_tap;
  return p;
}

// One number per slot, together in memory so that a thread reads them at once.
template <class T, int P>
struct alignas(P == 2 || P == 4 ? (P * sizeof(T) < 16 ? P * sizeof(T) : 16) : sizeof(T)) Slots {
  T at[P];
};

// How a block cuts up C and k. More slots take more registers, so a thread then sums fewer columns.
template <class T, int P>
struct Tiling {
  static constexpr int side = 16, threads = side * side;
  static constexpr int thread_rows = 4, thread_columns = P > 2 ? 2 : 4;
  static constexpr int rows = side * thread_rows, columns = side * thread_columns;
  static constexpr int depth = P * sizeof(T) <= 8 ? 16 : 8;
  static constexpr int row_pitch = rows + 1, column_pitch = columns + 1;  // one more: no two rows begin in the same bank
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

template <class T, int P>
Shape product_shape(const Product& product) {
  using Tile = Tiling<T, P>;
  const Index rows = product.samples * product.count[0] * product.count[1] * product.count[2];
  std::size_t shared = room<Row>(0, Tile::rows);
  shared = room<Step>(shared, Tile::depth);
  shared = room<Slots<T, P>>(shared, Tile::depth * Tile::row_pitch);
  shared = room<Slots<T, P>>(shared, Tile::depth * Tile::column_pitch);
  return {dim3(blocks(rows, Tile::rows), blocks(product.columns, Tile::columns), static_cast<unsigned>(product.groups)),
          dim3(Tile::threads), shared};
}

// A Task has
//   product                               its geometry
//   read(sample, place)                   A: the slots of an element of the array that rows read
//   weights(w)                            B: the slots of an element of w
//   write(sample, channel, place, sums)   C: place is the element's offset in its sample
template <class T, int P, class Task>
__global__ void __launch_bounds__(Tiling<T, P>::threads, 2) product_kernel(const Task task, const T* __restrict__ w) {
  using Size = Tiling<T, P>;
  const Product& g = task.product;
  Shared shared;
  auto rows = shared.take<Row>(Size::rows);
  auto steps = shared.take<Step>(Size::depth);
  auto A = shared.take<Slots<T, P>>(Size::depth * Size::row_pitch);
  auto B = shared.take<Slots<T, P>>(Size::depth * Size::column_pitch);

  const int thread = static_cast<int>(threadIdx.x), group = static_cast<int>(blockIdx.z);
  const int taps = g.kernel[0] * g.kernel[1] * g.kernel[2], depth = g.channels * taps;
  const Index positions = Index(g.count[0]) * g.count[1] * g.count[2];
  const Index first_row = Index(blockIdx.x) * Size::rows;
  const int first_column = static_cast<int>(blockIdx.y) * Size::columns;
  // Neighbouring threads read, and write, what lies side by side in memory.
  const bool a_along_k = g.a_channel == 1 && taps == 1, b_along_k = g.w_column != 1;
  const bool c_along_rows = g.c_position == 1 && positions > 1;
  const int lane = thread % Size::side, line = thread / Size::side;
  const int own_row = c_along_rows ? lane : line, own_column = c_along_rows ? line : lane;

  for (int r = thread; r < Size::rows; r += Size::threads) {
    const Index row = first_row + r;
    Row here{row < g.samples * positions ? row / positions : -1, {}};
    Index rest = row % positions;
    for (int d = 2; d >= 0; --d) {
      here.at[d] = static_cast<int>(rest % g.count[d]) * g.pace[d] + g.origin[d];
      rest /= g.count[d];
    }
    rows[r] = here;
  }

  Slots<T, P> sums[Size::thread_rows][Size::thread_columns] = {};
  for (int first = 0; first < depth; first += Size::depth) {
    for (int k = thread; k < Size::depth; k += Size::threads) {
      const int at = first + k, channel = at / taps;
      int tap = at % taps;
      Step step{channel * g.a_channel, {}, channel * g.w_channel + tap * g.w_tap};
      for (int d = 2; d >= 0; --d) {
        step.shift[d] = tap % g.kernel[d] * g.apart[d];
        tap /= g.kernel[d];
      }
      steps[k] = step;
    }
    __syncthreads();  // the tables are there, and nobody reads the last tiles any more

    const int most = depth - first < Size::depth ? depth - first : Size::depth;
    for (int e = thread; e < Size::rows * Size::depth; e += Size::threads) {
      const int k = a_along_k ? e % Size::depth : e / Size::rows, r = a_along_k ? e / Size::depth : e % Size::rows;
      const Row row = rows[r];
      const Step step = steps[k];
      bool inside = row.sample >= 0 && k < most;
      int place = group * g.channels * g.a_channel + step.channel;
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
      Slots<T, P> value{};  // what is not there adds nothing, whatever a part makes of 0
      if (inside) value = task.read(row.sample, place);
      A[k * Size::row_pitch + r] = value;
    }
    for (int e = thread; e < Size::columns * Size::depth; e += Size::threads) {
      const int k = b_along_k ? e % Size::depth : e / Size::columns, c = b_along_k ? e / Size::depth : e % Size::columns;
      const Step step = steps[k];
      const int column = first_column + c;
      Slots<T, P> value{};
      if (k < most && column < g.columns) value = task.weights(w[group * g.w_group + column * g.w_column + step.weight]);
      B[k * Size::column_pitch + c] = value;
    }
    __syncthreads();

    for (int k = 0; k < most; ++k) {
      Slots<T, P> a[Size::thread_rows], b[Size::thread_columns];
      UNROLL
      for (int i = 0; i < Size::thread_rows; ++i) a[i] = A[k * Size::row_pitch + own_row + i * Size::side];
      UNROLL
      for (int j = 0; j < Size::thread_columns; ++j) b[j] = B[k * Size::column_pitch + own_column + j * Size::side];
      UNROLL
      for (int i = 0; i < Size::thread_rows; ++i) {
        UNROLL
        for (int j = 0; j < Size::thread_columns; ++j) {
          UNROLL
          for (int p = 0; p < P; ++p) sums[i][j].at[p] = multiply_add(a[i].at[p], b[j].at[p], sums[i][j].at[p]);
        }
      }
    }
  }

  UNROLL
  for (int i = 0; i < Size::thread_rows; ++i) {
    const Index row = first_row + own_row + i * Size::side, sample = row / positions;
    const int position = static_cast<int>(row % positions);
    const bool is_row = row < g.samples * positions;
    UNROLL
    for (int j = 0; j < Size::thread_columns; ++j) {
      const int column = first_column + own_column + j * Size::side, channel = group * g.columns + column;
      if (is_row && column < g.columns) task.write(sample, channel, channel * g.c_channel + position * g.c_position, sums[i][j]);
    }
  }
}

template <class T, int P, class Task>
void launch_product(const char* operation, Stream stream, const Task& task, const T* w) {
  const Product& g = task.product;
  const Shape shape = product_shape<T, P>(g);
  launch(operation, stream, shape, &product_kernel<T, P, Task>, task, w);
  const Index rows = g.samples * g.count[0] * g.count[1] * g.count[2];
  for (int p = 0; p < P; ++p)
    count_product(2 * rows * g.columns * g.groups * g.channels * g.kernel[0] * g.kernel[1] * g.kernel[2]);
}

}  // namespace relprop::cuda
