// What concerns the process and libtorch.
#pragma once

#include <napi.h>

namespace lenet5::addon {

const char* libtorch_version();
// devices()
Napi::Value devices(const Napi::CallbackInfo& info);
// setNumThreads(threads): of libtorch and of this addon's copy of the kernels.
void set_all_threads(const Napi::CallbackInfo& info);

}  // namespace lenet5::addon
