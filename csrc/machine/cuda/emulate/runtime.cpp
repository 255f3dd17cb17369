// The emulated device: its memory and its errors.
#include <cstdlib>
#include <map>
#include <mutex>

#include "cuda_runtime.h"

namespace {

constexpr std::size_t red_zone = 256;  // as CUDA aligns
constexpr unsigned char red = 0xA5, poison = 0xFF;

std::mutex mutex;
std::map<const unsigned char*, std::size_t> allocations;  // start → bytes
std::size_t total = 0;
cudaError_t next_error = cudaSuccess, sticky_error = cudaSuccess;
thread_local cudaError_t last_error = cudaSuccess;

std::size_t setting(const char* name, std::size_t otherwise) {
  const char* value = std::getenv(name);
  return value ? static_cast<std::size_t>(std::strtoull(value, nullptr, 10)) : otherwise;
}
int devices() { return static_cast<int>(setting("RELPROP_EMULATE_DEVICES", 1)); }
std::size_t memory_limit() { return setting("RELPROP_EMULATE_MEMORY", std::size_t(1) << 30); }

// What a call answers: an error that a test ordered, or its own.
cudaError_t answer(cudaError_t own = cudaSuccess) {
  const std::lock_guard<std::mutex> lock(mutex);
  cudaError_t error = sticky_error != cudaSuccess ? sticky_error : next_error != cudaSuccess ? next_error : own;
  if (devices() == 0) error = cudaErrorNoDevice;
  next_error = cudaSuccess;
  if (error != cudaSuccess) last_error = error;
  return error;
}

bool inside(const void* data, std::size_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex);
  const auto* p = static_cast<const unsigned char*>(data);
  auto after = allocations.upper_bound(p);
  if (after == allocations.begin()) return bytes == 0;
  const auto& [start, size] = *--after;
  return bytes == 0 || p + bytes <= start + size;
}

}  // namespace

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInsufficientDriver: return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice: return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorNoKernelImageForDevice: return "cudaErrorNoKernelImageForDevice";
    case cudaErrorIllegalAddress: return "cudaErrorIllegalAddress";
    case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
  }
  return "unknown error";
}
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorNoKernelImageForDevice: return "no kernel image is available for execution on the device";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    case cudaErrorLaunchFailure: return "unspecified launch failure";
  }
  return "unrecognized error code";
}
cudaError_t cudaPeekAtLastError() {
  const std::lock_guard<std::mutex> lock(mutex);
  return sticky_error != cudaSuccess ? sticky_error : last_error;
}
cudaError_t cudaGetLastError() {
  answer();  // an ordered error shows here too: that is how a launch fails
  const cudaError_t error = cudaPeekAtLastError();
  last_error = cudaSuccess;
  return error;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = devices();
  return answer();
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return answer();
}
cudaError_t cudaSetDevice(int device) { return answer(device == 0 ? cudaSuccess : cudaErrorInvalidDevice); }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  *properties = {};
  std::strcpy(properties->name, "emulated");
  properties->totalGlobalMem = memory_limit();
  properties->major = 8;
  properties->multiProcessorCount = 4;
  return cudaSetDevice(device);
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  *value = attribute == cudaDevAttrMultiProcessorCount            ? 4
           : attribute == cudaDevAttrComputeCapabilityMajor       ? 8
           : attribute == cudaDevAttrMaxSharedMemoryPerBlockOptin ? static_cast<int>(emulate::shared_most)
                                                                  : 0;
  return cudaSetDevice(device);
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 0;
  return answer();
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps*) {
  *pool = nullptr;
  return answer();
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return answer(); }
cudaError_t cudaMallocFromPoolAsync(void** data, std::size_t bytes, cudaMemPool_t, cudaStream_t) {
  *data = nullptr;
  const cudaError_t error = answer(bytes == 0 ? cudaErrorInvalidValue : cudaSuccess);
  if (error != cudaSuccess) return error;
  const std::lock_guard<std::mutex> lock(mutex);
  unsigned char* memory = nullptr;
  if (bytes <= memory_limit() && total <= memory_limit() - bytes)
    memory = static_cast<unsigned char*>(std::aligned_alloc(red_zone, (bytes + 3 * red_zone - 1) / red_zone * red_zone));
  if (!memory) return last_error = cudaErrorMemoryAllocation;
  std::memset(memory, red, red_zone);
  std::memset(memory + red_zone, poison, bytes);
  std::memset(memory + red_zone + bytes, red, red_zone);
  allocations[memory + red_zone] = bytes;
  total += bytes;
  *data = memory + red_zone;
  return cudaSuccess;
}
cudaError_t cudaFreeAsync(void* data, cudaStream_t) {
  if (data) {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = allocations.find(static_cast<unsigned char*>(data));
    if (found == allocations.end()) return last_error = cudaErrorInvalidValue;
    total -= found->second;
    std::memset(data, poison, found->second);
    allocations.erase(found);
    std::free(static_cast<unsigned char*>(data) - red_zone);
  }
  return answer();
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  const bool fits = (!to_device || inside(to, bytes)) && (!from_device || inside(from, bytes));
  const cudaError_t error = answer(fits ? cudaSuccess : cudaErrorInvalidValue);
  if (error == cudaSuccess && bytes) std::memmove(to, from, bytes);
  return error;
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t) {
  const cudaError_t error = answer(inside(to, bytes) ? cudaSuccess : cudaErrorInvalidValue);
  if (error == cudaSuccess && bytes) std::memset(to, value, bytes);
  return error;
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* all) {
  *all = memory_limit();
  *free = memory_limit() - emulate::allocated();
  return answer();
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* data) {
  *attributes = {};
  if (data && inside(data, 1)) attributes->type = cudaMemoryTypeDevice;
  attributes->devicePointer = const_cast<void*>(data);
  return answer();
}
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int value) {
  return answer(value <= static_cast<int>(emulate::shared_most) ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int threads, std::size_t shared) {
  *blocks = shared > emulate::shared_most || threads > 1024 ? 0 : 1;
  return answer();
}

cudaError_t cudaDeviceSynchronize() { return answer(); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = reinterpret_cast<cudaStream_t>(std::uintptr_t(16));  // streams do everything at once: one is enough
  return answer();
}
cudaError_t cudaStreamDestroy(cudaStream_t) { return answer(); }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return answer(); }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return answer(); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = reinterpret_cast<cudaEvent_t>(std::uintptr_t(16));
  return answer();
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return answer(); }
cudaError_t cudaEventDestroy(cudaEvent_t) { return answer(); }

namespace emulate {

void check_memory(const char* name) {
  const std::lock_guard<std::mutex> lock(mutex);
  for (const auto& [start, size] : allocations)
    for (std::size_t i = 0; i < red_zone; ++i) {
      if (start[-1 - static_cast<std::ptrdiff_t>(i)] == red && start[size + i] == red) continue;
      for (std::size_t k = 0; k < red_zone; ++k)  // once said, not again
        const_cast<unsigned char*>(start)[-1 - static_cast<std::ptrdiff_t>(k)] = const_cast<unsigned char*>(start)[size + k] = red;
      throw Fault(std::string("kernel ") + name + ": wrote beside an allocation of " + std::to_string(size) + " bytes");
    }
}

void fail_next(cudaError_t error, bool sticky) {
  const std::lock_guard<std::mutex> lock(mutex);
  (sticky ? sticky_error : next_error) = error;
  if (error == cudaSuccess) last_error = error;  // cured
}

std::size_t allocated() {
  const std::lock_guard<std::mutex> lock(mutex);
  return total;
}

}  // namespace emulate
