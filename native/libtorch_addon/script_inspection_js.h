// What the core found in a module, as the objects of lib/script-module/inspection.ts.
#pragma once

#include <napi.h>

#include "../core/script_module.h"

namespace lenet5::addon {

Napi::Object inspection_to_js(Napi::Env env, const Inspection& inspection);

}  // namespace lenet5::addon
