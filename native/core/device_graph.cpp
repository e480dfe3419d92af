#include "device_graph.h"

#include <torch/version.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>

namespace lenet5 {

namespace {

std::atomic<const DeviceGraphTable*> graph_table{nullptr};
std::atomic<int64_t> graph_replays{0};

struct GraphProblem {
  std::mutex mutex;
  std::string text;
};

// One recording at a time, and no graph goes meanwhile: libtorch notes for the whole process which there are.
std::mutex& recording() {
  static auto* const mutex = new std::mutex;
  return *mutex;
}

GraphProblem& graph_problem() {
  static auto* const problem = new GraphProblem;
  return *problem;
}

}  // namespace

bool has_device_graphs() {
  const char* chosen = std::getenv("LENET5_CUDA_GRAPHS");
  return graph_table.load() != nullptr && (chosen == nullptr || std::strcmp(chosen, "0") != 0);
}

DeviceGraph::DeviceGraph() : graph_(graph_table.load()->make()) {}

DeviceGraph::~DeviceGraph() {
  const std::lock_guard<std::mutex> lock(recording());
  graph_table.load()->destroy(graph_);
}

void DeviceGraph::record(const std::function<void()>& work) {
  const std::lock_guard<std::mutex> lock(recording());
  const DeviceGraphTable& table = *graph_table.load();
  table.begin(graph_);
  try {
    work();
  } catch (...) {
    try {
      // The stream records until it is told to end, whatever happened.
      table.end(graph_);
    } catch (const std::exception&) {
      // What was thrown first says more.
    }
    throw;
  }
  table.end(graph_);
}

void DeviceGraph::replay() {
  graph_table.load()->replay(graph_);
  graph_replays++;
}

DeviceGraphReport device_graph_report() {
  const std::lock_guard<std::mutex> lock(graph_problem().mutex);
  return {has_device_graphs(), graph_replays.load(), graph_problem().text};
}

void note_graph_problem(const std::string& problem) {
  const std::lock_guard<std::mutex> lock(graph_problem().mutex);
  graph_problem().text = problem;
}

}  // namespace lenet5

#if defined(_WIN32)
#define LENET5_EXPORT __declspec(dllexport)
#else
#define LENET5_EXPORT __attribute__((visibility("default")))
#endif

// For the loader: takes the table of lenet5_cuda; false where that was compiled for another libtorch, or has none for
// the one that is open.
extern "C" LENET5_EXPORT bool lenet5_take_device_graphs(const void* table) {
  const auto* graphs = static_cast<const lenet5::DeviceGraphTable*>(table);
  if (graphs == nullptr || std::strcmp(graphs->libtorch, TORCH_VERSION) != 0) return false;
  lenet5::graph_table.store(graphs);
  return true;
}
