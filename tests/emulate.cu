// Kernels, right and wrong, that tests/test_emulate.py runs on the emulated device: `emulate CASE` prints numbers, or
// what was found to be wrong.
#include <cuda_runtime.h>

#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "machine/cuda/block.cuh"
#include "machine/cuda/graph.h"
#include "machine/cuda/launch.cuh"
#include "machine/cuda/tensor.cuh"

using relprop::Index;
using namespace relprop::cuda;

namespace {

constexpr int warps = 4, threads = warps * warp;

__global__ void sums(double* out) {
  Shared shared;
  auto scratch = shared.take<double>(warps);
  const double sum = block_sum<double>(threadIdx.x + 1000 * blockIdx.x, scratch);
  if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

__global__ void sums_in_static_memory(double* out) {
  __shared__ double values[threads];
  values[threadIdx.x] = threadIdx.x;
  __syncthreads();
  for (int half = threads / 2; half > 0; half /= 2) {
    if (static_cast<int>(threadIdx.x) < half) values[threadIdx.x] += values[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) out[blockIdx.x] = values[0];
}

__global__ void shuffles(double* out) {
  const unsigned lane = threadIdx.x % warp;
  const double v = threadIdx.x;
  const double moved = __shfl_xor_sync(~0u, v, 1) + 10 * __shfl_down_sync(~0u, v, 2) + 100 * __shfl_up_sync(~0u, v, 3);
  const double first = __shfl_sync(~0u, v, 5, 8);
  const unsigned odd = __ballot_sync(~0u, lane % 2);
  out[threadIdx.x] = moved + 1000 * first + (odd == 0xAAAAAAAAu ? 0 : 1e9);
}

float left(int row, int k) { return static_cast<float>((3 * row + 5 * k) % 7 - 3); }
float right(int k, int column) { return static_cast<float>((2 * k + 3 * column) % 5 - 2); }

// Each warp adds two products to 1; the first one's sums are the result.
template <bool pairs>
__global__ void tensor_product(double* out) {
  const int lane = static_cast<int>(threadIdx.x % warp), g = lane / 4, t = lane % 4;
  float c[4] = {1, 1, 1, 1};
  for (int repeat = 0; repeat < 2; ++repeat) {
    if (pairs) {
      tensor::Word a[4], b[2];
      for (int e = 0; e < 4; ++e) {
        const int row = g + e % 2 * 8, k = 2 * t + e / 2 * 8;
        a[e] = tensor::to_bf16(left(row, k), left(row, k + 1));
      }
      for (int e = 0; e < 2; ++e) b[e] = tensor::to_bf16(right(2 * t + 8 * e, g), right(2 * t + 8 * e + 1, g));
      multiply_bf16(c, a, b);
    } else {
      float a[4], b[2];
      for (int e = 0; e < 4; ++e) a[e] = tensor::to_tf32(left(g + e % 2 * 8, t + e / 2 * 4));
      for (int e = 0; e < 2; ++e) b[e] = tensor::to_tf32(right(t + 4 * e, g));
      multiply_tf32(c, a, b);
    }
  }
  if (threadIdx.x < warp)
    for (int e = 0; e < 4; ++e) out[(g + e / 2 * 8) * 8 + 2 * t + e % 2] = static_cast<double>(c[e]);
}

__global__ void half_a_warp(double* out) {
  const unsigned lane = threadIdx.x;
  if (lane < 16) out[lane] = __shfl_xor_sync(0xFFFFu, double(lane), 15);
}

__global__ void missed_barrier(double* out) {
  if (threadIdx.x < 48) __syncthreads();
  out[threadIdx.x] = 1;
}

__global__ void two_barriers(double* out) {
  if (threadIdx.x < 48)
    __syncthreads();
  else
    __syncthreads();
  out[threadIdx.x] = 1;
}

__global__ void race(double* out) {
  Shared shared;
  auto tile = shared.take<double>(threads);
  tile[threadIdx.x] = threadIdx.x;
  out[threadIdx.x] = tile[threads - 1 - threadIdx.x];  // no barrier before it
}

__global__ void overwritten(double* out) {
  Shared shared;
  auto tile = shared.take<float>(1);
  if (threadIdx.x == 0) tile[0] = 7;
  __syncthreads();
  out[threadIdx.x] = tile[0];
  if (threadIdx.x == 0) tile[0] = 8;  // others may not have read yet
}

__global__ void ordered_in_a_warp(double* out) {
  Shared shared;
  auto tile = shared.take<double>(threads);
  tile[threadIdx.x] = threadIdx.x;
  __syncwarp();
  out[threadIdx.x] = tile[threadIdx.x ^ 1];
}

__global__ void shuffle_is_no_barrier(double* out) {
  Shared shared;
  auto tile = shared.take<double>(threads);
  tile[threadIdx.x] = threadIdx.x;
  __shfl_sync(~0u, 0, 0);
  out[threadIdx.x] = tile[threadIdx.x ^ 1];
}

__global__ void beyond_the_tile(double* out) {
  Shared shared;
  auto tile = shared.take<double>(threads);
  tile[threadIdx.x + 1] = 0;
  out[0] = 0;
}

__global__ void takes_too_much(double* out) {
  Shared shared;
  shared.take<double>(2 * threads);
  out[0] = 0;
}

__global__ void beyond_the_buffer(double* out) { out[threads + threadIdx.x % 2] = 0; }

__global__ void absent_lane(double* out) {
  if (threadIdx.x % warp == 3) return;
  out[threadIdx.x] = __shfl_sync(~0u, 1.0, 0);
}

__global__ void lane_outside_of_its_mask(double* out) { out[threadIdx.x] = __shfl_sync(0xFFFFu, 1.0, 0); }

__global__ void reads_outside_of_the_mask(double* out) {
  if (threadIdx.x % warp < 16) out[threadIdx.x] = __shfl_sync(0xFFFFu, 1.0, 20);
}

__global__ void meets_the_grid(double* out) {
  out[blockIdx.x * threads + threadIdx.x] = blockIdx.x;
  emulate::sync_grid();
  const unsigned next = (blockIdx.x + 1) % gridDim.x;
  if (threadIdx.x == 0) out[gridDim.x * threads + blockIdx.x] = out[next * threads + threads - 1];
}

__global__ void throws(double* out) {
  out[threadIdx.x] = std::vector<double>(1).at(threadIdx.x);
}

__global__ void doubles(double* x) { x[threadIdx.x] = 2 * x[threadIdx.x]; }

// What is recorded waits for its launch, and is done again by each; in between numbers come from elsewhere.
void records() {
  const char* name = "records";
  const Stream stream = own_stream(name);
  const std::vector<double> ones(threads, 1);
  std::vector<double> host(ones);
  const std::size_t bytes = sizeof(double) * ones.size();
  Numbers<double> x(name, threads, stream);
  upload(name, x.data(), ones.data(), bytes, stream);
  Graph graph;
  graph.begin(name);
  {
    const Numbers<double> own(name, threads, own_stream(name));
    clear(name, own.data(), bytes, own_stream(name));
    launch(name, own_stream(name), {1, threads}, doubles, x.data());
    launch(name, own_stream(name), {1, threads}, doubles, own.data());
  }
  const Numbers<double> again(name, threads, own_stream(name));  // the same piece of memory
  graph.end(name);
  const auto show = [&] {
    download(name, host.data(), x.data(), bytes, stream);
    std::printf("%.0f ", host[5]);
  };
  show();
  for (int run = 0; run < 2; ++run) graph.launch(name, stream);
  show();
  upload(name, x.data(), ones.data(), bytes, stream);
  graph.launch(name, stream);
  show();
  std::printf("%zu %zu\n", graph.nodes(), graph.memory() / bytes);
}

// Each of these ends the recording; CUDA says so of `last`, and at the end. What comes after is as if nothing had been.
void cannot_be_recorded(int which) {
  const char* name = "cannot_be_recorded";
  const Stream stream = own_stream(name);
  void* memory = nullptr;
  cudaEvent_t event = nullptr;
  cudaGraph_t graph = nullptr;
  Stream captured = nullptr;
  check(cudaStreamCreateWithFlags(&captured, cudaStreamNonBlocking), name);
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), name);
  check(cudaEventRecord(event, stream), name);
  check(cudaStreamBeginCapture(captured, cudaStreamCaptureModeThreadLocal), name);
  const cudaError_t last = which == 0   ? cudaStreamSynchronize(captured)
                           : which == 1 ? cudaDeviceSynchronize()
                           : which == 2 ? cudaMallocFromPoolAsync(&memory, 256, nullptr, captured)
                           : which == 3 ? cudaStreamWaitEvent(captured, event, 0)
                                        : cudaStreamBeginCapture(captured, cudaStreamCaptureModeThreadLocal);
  const cudaError_t end = cudaStreamEndCapture(captured, &graph);
  std::printf("%d %d %d\n", last, end, graph != nullptr);
  cudaGetLastError();
}

// Deep enough for the stack that a thread has, and no deeper.
double depth(int n) {
  volatile double local[64] = {1};
  return n == 0 ? local[0] : local[0] + depth(n - 1);
}
__global__ void uses_its_stack(double* out) { out[threadIdx.x] = depth(50); }

struct Case {
  void (*kernel)(double*);
  unsigned grid = 1;
  int results = threads;
  std::size_t shared = 0;
  bool cooperative = false;
};

const std::map<std::string, Case> cases = {
    {"sums", {sums, 3, 3, room<double>(0, warps)}},
    {"sums_in_static_memory", {sums_in_static_memory, 2, 2}},
    {"shuffles", {shuffles}},
    {"tensor_product_tf32", {tensor_product<false>}},
    {"tensor_product_bf16", {tensor_product<true>}},
    {"half_a_warp", {half_a_warp, 1, 16}},
    {"missed_barrier", {missed_barrier}},
    {"two_barriers", {two_barriers}},
    {"race", {race, 1, threads, room<double>(0, threads)}},
    {"overwritten", {overwritten, 1, threads, room<float>(0, 1)}},
    {"ordered_in_a_warp", {ordered_in_a_warp, 1, threads, room<double>(0, threads)}},
    {"shuffle_is_no_barrier", {shuffle_is_no_barrier, 1, threads, room<double>(0, threads)}},
    {"beyond_the_tile", {beyond_the_tile, 1, threads, room<double>(0, threads)}},
    {"takes_too_much", {takes_too_much, 1, threads, room<double>(0, threads)}},
    {"beyond_the_buffer", {beyond_the_buffer}},
    {"absent_lane", {absent_lane}},
    {"lane_outside_of_its_mask", {lane_outside_of_its_mask}},
    {"reads_outside_of_the_mask", {reads_outside_of_the_mask}},
    {"meets_the_grid", {meets_the_grid, 3, 3, 0, true}},
    {"meets_the_grid_alone", {meets_the_grid, 3, 3, 0, false}},
    {"throws", {throws}},
    {"uses_its_stack", {uses_its_stack}},
    {"too_much_shared_memory", {sums, 1, 1, std::size_t(1) << 20}},
};

void run(const std::string& name) {
  if (name == "records") return records();
  if (name.rfind("cannot_be_recorded", 0) == 0) return cannot_be_recorded(name.back() - '0');
  const Case& c = cases.at(name);
  const Index length = c.cooperative || name == "meets_the_grid_alone" ? Index(c.grid) * (threads + 1) : c.results;
  Numbers<double> out(name.c_str(), length, own_stream(name.c_str()));
  const unsigned block = name == "half_a_warp" ? 16 : threads;
  if (c.cooperative)
    emulate::launch<double*>(name.c_str(), nullptr, c.kernel, c.grid, block, c.shared, true, out.data());
  else
    launch(name.c_str(), own_stream(name.c_str()), {c.grid, block, c.shared}, c.kernel, out.data());
  std::vector<double> host(static_cast<std::size_t>(length));
  download(name.c_str(), host.data(), out.data(), sizeof(double) * host.size(), own_stream(name.c_str()));
  for (Index i = length - c.results; i < length; ++i) std::printf("%.0f ", host[static_cast<std::size_t>(i)]);
  std::printf("\n");
}

}  // namespace

int main(int count, char** names) {
  for (int i = 1; i < count; ++i) {
    try {
      run(names[i]);
    } catch (const std::exception& error) {
      std::printf("%s\n", error.what());
    }
  }
}
