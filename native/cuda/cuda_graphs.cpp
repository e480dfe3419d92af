// lenet5_cuda: CUDA graphs for the core (core/device_graph.h). Linked to libtorch's CUDA libraries, which the core is
// not.
#include <ATen/cuda/CUDAGraph.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <torch/version.h>

#include <exception>

#include "../core/device_graph.h"

#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 13)
#include <ATen/core/CachingHostAllocator.h>
#include <c10/cuda/CUDACachingAllocator.h>
#define LENET5_CAN_GIVE_UP
#endif

namespace {

// The problem: where a recording fails in the middle, CUDAGraph's end throws before it has told libtorch's allocators
// that the recording is over. They go on to ask the graph of every allocation whether it belongs to it, deleted or not,
// and cannot empty their caches any more. The resolution: what its end has left out is done here.
class Graph : public at::cuda::CUDAGraph {
 public:
  void begin() {
    try {
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 1)
      // This thread's launches alone: others predict meanwhile, which may take memory of the device, and must not fail
      // for it. (What autograd's own thread launches goes to the stream that records, and is recorded.)
      capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
#else
      capture_begin();
#endif
    } catch (...) {
      give_up();
      throw;
    }
  }

  void end() {
    try {
      capture_end();
    } catch (...) {
      give_up();
      throw;
    }
  }

  // Whether nobody asks it any more. Of older libtorches a graph that failed is kept for good instead.
  bool may_go() const {
#ifdef LENET5_CAN_GIVE_UP
    return true;
#else
    return !failed_;
#endif
  }

 private:
  void give_up() noexcept {
#ifdef LENET5_CAN_GIVE_UP
    // Nothing has been begun without a device. An allocator for which it is over throws.
    if (capture_dev_ == UNDEFINED_DEVICE) return;
    try {
      c10::cuda::CUDACachingAllocator::endAllocateToPool(capture_dev_, mempool_id_);
      c10::cuda::CUDACachingAllocator::releasePool(capture_dev_, mempool_id_);
    } catch (const std::exception&) {
      // Over.
    }
    try {
      at::getHostAllocator(at::kCUDA)->end_allocate_to_pool(mempool_id_);
      at::getHostAllocator(at::kCUDA)->release_pool(mempool_id_);
    } catch (const std::exception&) {
      // Over.
    }
#else
    failed_ = true;
#endif
  }

#ifndef LENET5_CAN_GIVE_UP
  bool failed_ = false;
#endif
};

void* make() { return new Graph; }

void begin(void* graph) { static_cast<Graph*>(graph)->begin(); }

void end(void* graph) { static_cast<Graph*>(graph)->end(); }

void replay(void* graph) { static_cast<Graph*>(graph)->replay(); }

void destroy(void* graph) {
  auto* const own = static_cast<Graph*>(graph);
  if (own->may_go()) delete own;
}

constexpr lenet5::DeviceGraphTable kTable{TORCH_VERSION, make, begin, end, replay, destroy};

}  // namespace

// Null for a libtorch that was built for another CUDA than this was: by that CUDAGraph is laid out.
extern "C" __attribute__((visibility("default"))) const void* lenet5_device_graphs() {
  try {
    return at::detail::getCUDAHooks().versionCUDART() == CUDART_VERSION ? &kTable : nullptr;
  } catch (const std::exception&) {
    return nullptr;
  }
}
