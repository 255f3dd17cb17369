// The emulated device: its memory and its errors.
#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "cuda_runtime.h"

namespace {

constexpr std::size_t red_zone = 256;  // as CUDA aligns
constexpr unsigned char red = 0xA5, poison = 0xFF;

std::mutex mutex;
std::map<const unsigned char*, std::size_t> allocations;  // start → bytes
std::size_t total = 0;
cudaError_t next_error = cudaSuccess, sticky_error = cudaSuccess;
thread_local cudaError_t last_error = cudaSuccess;

// Work that is recorded in place of being done.
using Steps = std::vector<std::function<void()>>;
struct Capture {
  Steps steps;
  bool is_valid = true;
};
std::map<cudaStream_t, Capture> captures;  // by the stream that is captured
std::atomic<std::uintptr_t> streams{0}, events{0};
std::map<cudaEvent_t, cudaStream_t> recorded_on;  // events by the stream that they were recorded on last

// Whether a stream is captured; `spoils`: by what cannot be.
bool is_captured(cudaStream_t stream, bool spoils = false) {
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = captures.find(stream);
  if (found == captures.end()) return false;
  if (spoils) found->second.is_valid = false;
  return true;
}

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
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated: return "cudaErrorStreamCaptureInvalidated";
    case cudaErrorStreamCaptureIsolation: return "cudaErrorStreamCaptureIsolation";
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
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureIsolation: return "dependency created on uncaptured work in another stream";
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
cudaError_t cudaMallocFromPoolAsync(void** data, std::size_t bytes, cudaMemPool_t, cudaStream_t stream) {
  *data = nullptr;
  if (is_captured(stream, true)) return answer(cudaErrorStreamCaptureUnsupported);  // stricter than CUDA: no nodes of memory
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
cudaError_t cudaFreeAsync(void* data, cudaStream_t stream) {
  if (is_captured(stream, true)) return answer(cudaErrorStreamCaptureUnsupported);
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
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  const bool fits = (!to_device || inside(to, bytes)) && (!from_device || inside(from, bytes));
  const cudaError_t error = answer(fits ? cudaSuccess : cudaErrorInvalidValue);
  if (error == cudaSuccess && bytes) emulate::on_stream(stream, [=] { std::memmove(to, from, bytes); });
  return error;
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  const cudaError_t error = answer(inside(to, bytes) ? cudaSuccess : cudaErrorInvalidValue);
  if (error == cudaSuccess && bytes) emulate::on_stream(stream, [=] { std::memset(to, value, bytes); });
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

cudaError_t cudaDeviceSynchronize() {
  bool any = false;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    for (auto& [stream, capture] : captures) {
      capture.is_valid = false;
      any = true;
    }
  }
  return answer(any ? cudaErrorStreamCaptureUnsupported : cudaSuccess);
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = reinterpret_cast<cudaStream_t>(++streams * 16);
  return answer();
}
cudaError_t cudaStreamDestroy(cudaStream_t) { return answer(); }
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return answer(is_captured(stream, true) ? cudaErrorStreamCaptureUnsupported : cudaSuccess);
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = reinterpret_cast<cudaEvent_t>(++events * 16);
  return answer();
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  {
    const std::lock_guard<std::mutex> lock(mutex);
    recorded_on[event] = stream;
  }
  return answer();
}
// A captured stream and one that is not have nothing to wait for in each other. (CUDA would capture the other one too.)
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  cudaStream_t other = stream;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    if (recorded_on.count(event)) other = recorded_on[event];
  }
  const bool meets = other != stream && (is_captured(stream, true) || is_captured(other, true));
  return answer(meets ? cudaErrorStreamCaptureIsolation : cudaSuccess);
}
cudaError_t cudaEventSynchronize(cudaEvent_t) { return answer(); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  {
    const std::lock_guard<std::mutex> lock(mutex);
    recorded_on.erase(event);
  }
  return answer();
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const cudaError_t error = answer(is_captured(stream, true) ? cudaErrorStreamCaptureUnsupported : cudaSuccess);
  const std::lock_guard<std::mutex> lock(mutex);
  if (error == cudaSuccess) captures[stream] = {};
  return error;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  Capture capture;
  capture.is_valid = false;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = captures.find(stream);
    if (found != captures.end()) {
      capture = std::move(found->second);
      captures.erase(found);
    }
  }
  const cudaError_t error = answer(capture.is_valid ? cudaSuccess : cudaErrorStreamCaptureInvalidated);
  if (error == cudaSuccess) *graph = reinterpret_cast<cudaGraph_t>(new Steps(std::move(capture.steps)));
  return error;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, std::size_t* count) {
  *count = reinterpret_cast<Steps*>(graph)->size();
  return answer();
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* run, cudaGraph_t graph, unsigned long long) {
  *run = nullptr;
  const cudaError_t error = answer();
  if (error == cudaSuccess) *run = reinterpret_cast<cudaGraphExec_t>(new Steps(*reinterpret_cast<Steps*>(graph)));
  return error;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t run, cudaStream_t stream) {
  const cudaError_t error = answer(is_captured(stream, true) ? cudaErrorStreamCaptureUnsupported : cudaSuccess);
  if (error == cudaSuccess)
    for (const auto& step : *reinterpret_cast<Steps*>(run)) step();
  return error;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t run) {
  delete reinterpret_cast<Steps*>(run);
  return answer();
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete reinterpret_cast<Steps*>(graph);
  return answer();
}

namespace emulate {

void on_stream(cudaStream_t stream, std::function<void()> work) {
  {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = captures.find(stream);
    if (found != captures.end()) {
      found->second.steps.push_back(std::move(work));
      return;
    }
  }
  work();
}

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
