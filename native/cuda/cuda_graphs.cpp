// lenet5_cuda: CUDA graphs for the core (core/device_graph.h). Linked to libtorch's CUDA libraries, which the core is
// not.
#include <ATen/cuda/CUDAGraph.h>
#include <torch/version.h>

#include "../core/device_graph.h"

namespace {

using at::cuda::CUDAGraph;

void* make() { return new CUDAGraph; }

void begin(void* graph) {
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 1)
  // This thread's launches alone: others predict meanwhile, which may take memory of the device, and must not fail for
  // it. (What autograd's own thread launches goes to the stream that records, and is recorded.)
  static_cast<CUDAGraph*>(graph)->capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
#else
  static_cast<CUDAGraph*>(graph)->capture_begin();
#endif
}

void end(void* graph) { static_cast<CUDAGraph*>(graph)->capture_end(); }

void replay(void* graph) { static_cast<CUDAGraph*>(graph)->replay(); }

void destroy(void* graph) { delete static_cast<CUDAGraph*>(graph); }

constexpr lenet5::DeviceGraphTable kTable{TORCH_VERSION, make, begin, end, replay, destroy};

}  // namespace

extern "C" __attribute__((visibility("default"))) const void* lenet5_device_graphs() { return &kTable; }
