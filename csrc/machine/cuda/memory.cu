#include "machine/cuda/memory.h"

#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <sstream>

#include "machine/cuda/graph.h"
#include "machine/cuda/launch.cuh"

namespace relprop::cuda {

namespace {

std::atomic<Index> launches{0}, uploads{0}, downloads{0}, waits{0}, products{0}, flops{0}, allocations{0}, allocated{0}, held{0}, most{0};

std::string amount(std::size_t bytes) {
  const char* units[] = {" bytes", " kB", " MB", " GB"};
  std::size_t unit = 0, whole = bytes, rest = 0;
  for (; whole >= 1000 && unit < 3; ++unit) {
    rest = whole % 1000 / 10;
    whole /= 1000;
  }
  std::ostringstream out;
  out << whole;
  if (unit) out << '.' << rest / 10 << rest % 10;
  return out.str() + units[unit];
}

bool waits_for_every_launch() {
  const char* sync = std::getenv("RELPROP_CUDA_SYNC");
  return sync != nullptr && std::string(sync) == "1";
}

// What a recorded run cannot do again is refused, before CUDA ends the recording without saying why.
void not_while_recorded(const char* operation, Stream stream, const char* what) {
  if (stream && stream == recorded())
    throw Error(std::string(operation) + ": " + what + ", which a graph that is being recorded cannot repeat");
}

// Freed memory stays with us for the next call. The pool is our own: other libraries' settings are not touched.
cudaMemPool_t pool(const char* operation, int device) {
  static std::mutex mutex;
  static std::map<int, cudaMemPool_t> pools;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = pools.find(device);
  if (found != pools.end()) return found->second;
  cudaMemPoolProps properties{};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  properties.location.id = device;
  cudaMemPool_t made = nullptr;
  check(cudaMemPoolCreate(&made, &properties), operation);
  std::uint64_t keep = UINT64_MAX;
  check(cudaMemPoolSetAttribute(made, cudaMemPoolAttrReleaseThreshold, &keep), operation);
  return pools[device] = made;
}

}  // namespace

int current_device(const char* operation) {
  int device = 0;
  check(cudaGetDevice(&device), operation);
  return device;
}

void check(cudaError_t status, const char* operation) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // so that the next call works, where any can
  const std::string text = std::string(operation) + ": ", words = cudaGetErrorString(status);
  if (status == cudaErrorNoDevice || status == cudaErrorInsufficientDriver) throw NoDevice(text + "no device (" + words + ")");
  if (status == cudaErrorNoKernelImageForDevice)
    throw NoDevice(text + "this build has no code for the device; it has code for compute capability 8.0 and later");
  if (!recorded() && cudaDeviceSynchronize() != cudaSuccess) {
    throw Error(text + words +
                ", here or in an operation before: the CUDA context is lost and the process must restart "
                "(RELPROP_CUDA_SYNC=1 names the operation); the backend 'cpu' stays usable");
  }
  if (status == cudaErrorMemoryAllocation) throw OutOfMemory(text + words);
  throw Error(text + words + " (" + cudaGetErrorName(status) + ")");
}

void check_launch(const char* operation, Stream stream) {
  ++launches;
  check(cudaGetLastError(), operation);
  if (waits_for_every_launch() && !recorded()) synchronize(operation, stream);
}

std::vector<Device> devices() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();
    return {};
  }
  std::vector<Device> all;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp p{};
    check(cudaGetDeviceProperties(&p, i), "devices");
    all.push_back({p.name, p.totalGlobalMem, p.major, p.minor, p.multiProcessorCount});
  }
  return all;
}

std::string no_device() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  cudaGetLastError();
  return count > 0 && status == cudaSuccess ? "" : status == cudaSuccess ? "there is none" : cudaGetErrorString(status);
}

std::pair<int, int> versions() {
  int driver = 0, runtime = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
  if (cudaRuntimeGetVersion(&runtime) != cudaSuccess) runtime = 0;
  cudaGetLastError();
  return {driver, runtime};
}

Stream own_stream(const char* operation) {
  if (recorded()) return recorded();
  static std::mutex mutex;
  static std::map<int, Stream> streams;  // never destroyed: the driver may be gone before we are
  const int device = current_device(operation);
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = streams.find(device);
  if (found != streams.end()) return found->second;
  Stream made = nullptr;
  check(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), operation);
  return streams[device] = made;
}

void synchronize(const char* operation, Stream stream) {
  not_while_recorded(operation, stream, "waits for the device");
  ++waits;
  check(cudaStreamSynchronize(stream), operation);
}

void order(const char* operation, Stream before, Stream after) {
  if (before == after) return;
  if (after == recorded() && after) return;  // what was there before the recording is done
  not_while_recorded(operation, before, "goes on on another stream");
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), operation);
  cudaError_t status = cudaEventRecord(event, before);
  if (status == cudaSuccess) status = cudaStreamWaitEvent(after, event, 0);
  cudaEventDestroy(event);  // once it has passed
  check(status, operation);
}

int device_of(const void* data) {
  cudaPointerAttributes attributes{};
  check(cudaPointerGetAttributes(&attributes, data), "device_of");
  return attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged ? attributes.device : -1;
}

int use_device(const char* operation, int device) {
  const int before = current_device(operation);
  if (device != before) check(cudaSetDevice(device), operation);
  return before;
}

OnDevice::OnDevice(const char* operation, int device) {
  const int before = use_device(operation, device);
  if (device != before) before_ = before;
}

OnDevice::~OnDevice() {
  if (before_ >= 0) cudaSetDevice(before_);
}

Buffer::Buffer(const char* operation, std::size_t bytes, Stream stream) : bytes_(bytes), stream_(stream) {
  if (bytes == 0) return;
  if (stream && stream == recorded()) {
    data_ = take_recorded(operation, bytes);
    return;
  }
  const int device = current_device(operation);
  const cudaError_t status = cudaMallocFromPoolAsync(&data_, bytes, pool(operation, device), stream);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    std::size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), operation);
    throw OutOfMemory(std::string(operation) + ": needs " + amount(bytes) + " of device memory; " + amount(free) + " of " +
                      amount(total) + " are free");
  }
  check(status, operation);
  ++allocations;
  allocated += static_cast<Index>(bytes);
  const Index now = held += static_cast<Index>(bytes);
  for (Index before = most; before < now && !most.compare_exchange_weak(before, now);) {
  }
}

Buffer::~Buffer() {
  if (!data_ || give_back_recorded(data_)) return;
  held -= static_cast<Index>(bytes_);
  cudaFreeAsync(data_, stream_);
}

void upload(const char* operation, void* device, const void* host, std::size_t bytes, Stream stream) {
  if (bytes == 0) return;
  not_while_recorded(operation, stream, "copies from host memory");
  ++uploads;
  check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream), operation);
}

void begin_download(const char* operation, void* host, const void* device, std::size_t bytes, Stream stream) {
  if (bytes == 0) return;
  not_while_recorded(operation, stream, "copies to host memory");
  ++downloads;
  check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream), operation);
}

void download(const char* operation, void* host, const void* device, std::size_t bytes, Stream stream) {
  begin_download(operation, host, device, bytes, stream);
  synchronize(operation, stream);
}

void clear(const char* operation, void* device, std::size_t bytes, Stream stream) {
  if (bytes) check(cudaMemsetAsync(device, 0, bytes, stream), operation);
}

Counters counters() { return {{products, flops, allocations, allocated, most}, launches, uploads, downloads, waits}; }

void reset_counters() {
  launches = uploads = downloads = waits = products = flops = allocations = allocated = 0;
  most = held.load();
}

void count_product(Index count) {
  ++products;
  flops += count;
}

}  // namespace relprop::cuda
