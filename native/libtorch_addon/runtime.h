// What concerns the process and libtorch.
#pragma once

#include <napi.h>

namespace lenet5::addon {

const char* libtorch_version();
// devices()
Napi::Value devices(const Napi::CallbackInfo& info);
// cuda(): { problem?, graphs, replays, graphProblem? }, as core/device.h and core/device_graph.h have it.
Napi::Value cuda(const Napi::CallbackInfo& info);
// getNumThreads(): libtorch's.
Napi::Value get_libtorch_threads(const Napi::CallbackInfo& info);
// followThreads(cell): the process's number of threads, from the addon without libtorch, is libtorch's from now on.
void follow_threads(const Napi::CallbackInfo& info);

}  // namespace lenet5::addon
