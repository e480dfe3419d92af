// What concerns the process and no model: threads, instruction sets.
#pragma once

#include <napi.h>

#include <string>
#include <vector>

namespace lenet5::addon {

// A number of threads that a caller may ask for.
int threads_of(const Napi::Value& value);

// getNumThreads(): of the kernels.
Napi::Value get_threads(const Napi::CallbackInfo& info);
// instructionSets()
Napi::Value instruction_sets(const Napi::CallbackInfo& info);

// Names, as JavaScript has them.
Napi::Array to_js(Napi::Env env, const std::vector<std::string>& values);

}  // namespace lenet5::addon
