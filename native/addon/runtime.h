// What concerns the process and no model: devices, threads, instruction sets.
#pragma once

#include <napi.h>

namespace lenet5::addon {

// Once a process: plugs libtorch in, and sets the number of threads.
void set_up_process();

const char* libtorch_version();
// devices()
Napi::Value devices(const Napi::CallbackInfo& info);
// setNumThreads(threads)
void set_threads(const Napi::CallbackInfo& info);
// getNumThreads()
Napi::Value get_threads(const Napi::CallbackInfo& info);
// instructionSets()
Napi::Value instruction_sets(const Napi::CallbackInfo& info);

}  // namespace lenet5::addon
