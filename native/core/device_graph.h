// A GPU's work recorded once and launched again as a whole (a CUDA graph).
//
// The problem: the core is not linked to libtorch's CUDA libraries, so that one core serves libtorch with and without
// them, and of all that CUDA needs here graphs alone have no interface in what it is linked to. The resolution: a small
// library of its own, lenet5_cuda (native/cuda), is linked to them. Where libtorch has CUDA the loader opens it behind
// the core and hands over its table. Without it everything works, and is launched operator by operator.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace lenet5 {

// What lenet5_cuda has. They throw c10::Error, and belong to the calling thread's current stream, which must not be the
// device's default stream.
struct DeviceGraphTable {
  const char* libtorch;  // the version that it was compiled for
  void* (*make)();
  void (*begin)(void* graph);
  void (*end)(void* graph);
  void (*replay)(void* graph);
  void (*destroy)(void* graph);
};

// Whether there are graphs, and LENET5_CUDA_GRAPHS=0 does not turn them off.
bool has_device_graphs();

class DeviceGraph {
 public:
  // Only where has_device_graphs().
  DeviceGraph();
  ~DeviceGraph();
  DeviceGraph(const DeviceGraph&) = delete;
  DeviceGraph& operator=(const DeviceGraph&) = delete;

  // Records what `work` launches from this thread, which does not run it. Throws what it throws, and c10::Error where
  // something cannot be recorded; then there is nothing to replay, and the stream goes on.
  void record(const std::function<void()>& work);
  void replay();

 private:
  void* graph_;
};

// How graphs have fared in this process, for `lenet5 doctor` and the tests on a GPU.
struct DeviceGraphReport {
  bool available = false;
  int64_t replays = 0;
  std::string problem;  // why the last one that failed could not be recorded
};
DeviceGraphReport device_graph_report();
// Notes that recording failed.
void note_graph_problem(const std::string& problem);

}  // namespace lenet5
