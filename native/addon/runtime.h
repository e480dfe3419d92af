// What concerns the process and no model: devices, threads, instruction sets.
#pragma once

#include <napi.h>

namespace lenet5::addon {

void register_runtime(Napi::Env env, Napi::Object exports);

}  // namespace lenet5::addon
