// Device memory that comes and goes in the order of a stream, copies, and what devices there are.
// Free of CUDA's own headers: the bindings include it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "machine/cuda/check.h"
#include "machine/memory.h"

struct CUstream_st;

namespace relprop::cuda {

using Stream = CUstream_st*;

struct Device {
  std::string name;
  std::size_t memory;  // bytes
  int major, minor, processors;
};

// All devices; none where there is no driver.
std::vector<Device> devices();

// Why there are none, in CUDA's words.
std::string no_device();

// The driver's and the runtime's version, as 1000 · major + 10 · minor; 0 where unknown.
std::pair<int, int> versions();

// Our own stream on the current device, made when it is first asked for.
Stream own_stream(const char* operation);

// Waits until everything on the stream is done.
void synchronize(const char* operation, Stream stream);

// What comes later on `after` waits for what is on `before` now.
void order(const char* operation, Stream before, Stream after);

// The device that an address belongs to, or -1 for host memory.
int device_of(const void* data);

int current_device(const char* operation);

// Makes a device the current one of this thread; answers which was before.
int use_device(const char* operation, int device);

// The same until the end of a scope.
class OnDevice {
  int before_ = -1;

 public:
  OnDevice() = default;
  OnDevice(const char* operation, int device);
  OnDevice(OnDevice&& other) noexcept { std::swap(before_, other.before_); }
  OnDevice& operator=(OnDevice&& other) noexcept {
    std::swap(before_, other.before_);
    return *this;
  }
  ~OnDevice();
};

// Bytes of device memory that no longer belong to anybody once the stream gets there.
class Buffer {
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  Stream stream_ = nullptr;

 public:
  Buffer() = default;
  Buffer(const char* operation, std::size_t bytes, Stream stream);
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Buffer();

  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(stream_, other.stream_);
  }
  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  Stream stream() const { return stream_; }
};

// A buffer of `count` numbers.
template <class T>
class Numbers : public Buffer {
 public:
  Numbers() = default;
  Numbers(const char* operation, Index count, Stream stream)
      : Buffer(operation, sizeof(T) * static_cast<std::size_t>(count), stream) {}
  T* data() const { return static_cast<T*>(Buffer::data()); }
};

void upload(const char* operation, void* device, const void* host, std::size_t bytes, Stream stream);
void download(const char* operation, void* host, const void* device, std::size_t bytes, Stream stream);  // and waits
void begin_download(const char* operation, void* host, const void* device, std::size_t bytes, Stream stream);  // and does not
void clear(const char* operation, void* device, std::size_t bytes, Stream stream);                       // zeros

// Since the last reset, over all threads: as on the host; the kernels that were started, copies from and to the host, and
// how often the host waited.
struct Counters : machine::Counters {
  Index launches, uploads, downloads, waits;
};
Counters counters();
void reset_counters();
void count_product(Index flops);

}  // namespace relprop::cuda
