// Runs that a device repeats by itself. Free of CUDA's own headers: the bindings include it.
#pragma once

#include <cstddef>
#include <memory>

#include "machine/cuda/memory.h"

struct CUevent_st;
struct CUgraphExec_st;

namespace relprop::cuda {

struct Arena;

// A CUDA graph. What this thread does on its own stream between `begin` and `end` is not run but recorded, and `launch`
// runs all of it as one. It works on the same memory each time: buffers that are made meanwhile are the graph's own, and
// whoever still holds one afterwards finds in it what the last launch left. A copy from or to the host, or a wait for
// the device, cannot be repeated: it is refused with the name of its operation.
class Graph {
 public:
  Graph();  // on the current device
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  ~Graph();

  void begin(const char* operation);
  void end(const char* operation);
  void abandon();  // after an error: nothing is kept

  // Runs on one stream after another do not meet: `follow` waits for what comes before `done`.
  void follow(const char* operation, Stream stream);
  void launch(const char* operation, Stream stream);
  void done(const char* operation, Stream stream);

  std::size_t nodes() const { return nodes_; }  // kernels, copies and fillings that a launch runs
  std::size_t memory() const;                   // bytes that it keeps

 private:
  int device_;
  std::shared_ptr<Arena> arena_;
  CUgraphExec_st* run_ = nullptr;
  CUevent_st* done_ = nullptr;
  std::size_t nodes_ = 0;
};

// The stream that this thread records; null where it does not.
Stream recorded();

// Memory of the graph that this thread records.
void* take_recorded(const char* operation, std::size_t bytes);

// Memory of any graph goes back to it. False for other memory.
bool give_back_recorded(void* data);

}  // namespace relprop::cuda
