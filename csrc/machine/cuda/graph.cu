#include "machine/cuda/graph.h"

#include <atomic>
#include <map>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "machine/cuda/launch.cuh"

namespace relprop::cuda {

// What is given back while a graph is recorded is handed out again: the graph runs in the order of its recording.
struct Arena {
  Stream home;  // the stream that its memory comes and goes on
  std::vector<Buffer> all{};
  std::multimap<std::size_t, void*> free{};
  std::size_t bytes = 0;
};

namespace {

// A graph's memory that somebody holds, and how many bytes it has.
struct Lent {
  std::shared_ptr<Arena> arena;
  std::size_t bytes;
};

std::mutex mutex;  // of all that follows, and of arenas
std::atomic<std::size_t> lent_pieces{0};
std::unordered_map<void*, Lent>& lent() {
  static auto& all = *new std::unordered_map<void*, Lent>;  // never destroyed: arrays outlive the end of main
  return all;
}
std::multimap<int, Stream>& idle() {  // streams to record, by device
  static auto& all = *new std::multimap<int, Stream>;
  return all;
}

struct Recording {
  Stream stream = nullptr;
  std::shared_ptr<Arena> arena{};
};
thread_local Recording recording;

Stream idle_stream(const char* operation, int device) {
  {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = idle().find(device);
    if (found != idle().end()) {
      const Stream stream = found->second;
      idle().erase(found);
      return stream;
    }
  }
  Stream made = nullptr;
  check(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), operation);
  return made;
}

// Ends the recording of this thread.
cudaError_t stop(int device, cudaGraph_t* graph) {
  const cudaError_t status = cudaStreamEndCapture(recording.stream, graph);
  const std::lock_guard<std::mutex> lock(mutex);
  idle().emplace(device, recording.stream);
  recording = {};
  return status;
}

}  // namespace

Stream recorded() { return recording.stream; }

void* take_recorded(const char* operation, std::size_t bytes) {
  constexpr std::size_t apart = 256;
  const std::size_t wanted = (bytes + apart - 1) / apart * apart;
  const std::lock_guard<std::mutex> lock(mutex);
  Arena& arena = *recording.arena;
  auto found = arena.free.lower_bound(wanted);
  std::pair<std::size_t, void*> piece;
  if (found != arena.free.end() && found->first <= 2 * wanted) {
    piece = *found;
    arena.free.erase(found);
  } else {
    piece = {wanted, arena.all.emplace_back(operation, wanted, arena.home).data()};
    arena.bytes += wanted;
  }
  lent()[piece.second] = {recording.arena, piece.first};
  ++lent_pieces;
  return piece.second;
}

bool give_back_recorded(void* data) {
  if (lent_pieces == 0) return false;
  Lent piece;  // perhaps the last to hold its arena, whose memory goes when the lock is open again
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = lent().find(data);
  if (found == lent().end()) return false;
  piece = std::move(found->second);
  lent().erase(found);
  --lent_pieces;
  piece.arena->free.emplace(piece.bytes, data);
  return true;
}

Graph::Graph() : device_(current_device("graph")), arena_(std::make_shared<Arena>(Arena{own_stream("graph")})) {
  check(cudaEventCreateWithFlags(&done_, cudaEventDisableTiming), "graph");
}

Graph::~Graph() {
  abandon();
  int before = device_;
  cudaGetDevice(&before);
  cudaSetDevice(device_);
  cudaEventSynchronize(done_);  // its memory is in use until then
  if (run_) cudaGraphExecDestroy(run_);
  cudaEventDestroy(done_);
  cudaSetDevice(before);
  cudaGetLastError();  // perhaps the driver is gone before us
}

void Graph::begin(const char* operation) {
  synchronize(operation, arena_->home);  // what is read later is there
  const Stream stream = idle_stream(operation, device_);
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), operation);
  recording = {stream, arena_};
}

void Graph::end(const char* operation) {
  cudaGraph_t graph = nullptr;
  check(stop(device_, &graph), operation);
  cudaError_t status = cudaGraphGetNodes(graph, nullptr, &nodes_);
  if (status == cudaSuccess) status = cudaGraphInstantiate(&run_, graph, 0);
  cudaGraphDestroy(graph);
  check(status, operation);
  synchronize(operation, arena_->home);  // its memory is there, for any stream
}

void Graph::abandon() {
  if (recording.arena != arena_) return;
  cudaGraph_t graph = nullptr;
  stop(device_, &graph);
  if (graph) cudaGraphDestroy(graph);
  cudaGetLastError();
}

void Graph::follow(const char* operation, Stream stream) { check(cudaStreamWaitEvent(stream, done_, 0), operation); }

void Graph::launch(const char* operation, Stream stream) {
  check(cudaGraphLaunch(run_, stream), operation);
  check_launch(operation, stream);
}

void Graph::done(const char* operation, Stream stream) { check(cudaEventRecord(done_, stream), operation); }

std::size_t Graph::memory() const {
  const std::lock_guard<std::mutex> lock(mutex);
  return arena_->bytes;
}

}  // namespace relprop::cuda
