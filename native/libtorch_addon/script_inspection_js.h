// What the core found in a module, as the objects of lib/script-module/inspection.ts.
#pragma once

#include <napi.h>

#include <vector>

#include "../core/script_module.h"

namespace lenet5::addon {

Napi::Object inspection_to_js(Napi::Env env, const Inspection& inspection);

Napi::Array tensors_to_js(Napi::Env env, const std::vector<TensorInfo>& tensors);

}  // namespace lenet5::addon
