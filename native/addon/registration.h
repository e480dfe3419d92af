// What both addons have, by name: LeNet-5 on whatever engines the addon brings. What only one has is in
// fused_addon/registration.cpp and libtorch_addon/registration.cpp. The TypeScript side is lib/native/types.ts.
#pragma once

#include <napi.h>

#include "constructors.h"

namespace lenet5::addon {

template <typename Callback>
void set_function(Napi::Env env, Napi::Object exports, const char* name, Callback callback) {
  exports.Set(name, Napi::Function::New(env, callback, name));
}

// Gives the environment its constructors, unless it has them: a process with two copies of the package (ES modules and
// CommonJS) comes here twice with one environment.
Constructors& set_lenet5_exports(Napi::Env env, Napi::Object exports);

}  // namespace lenet5::addon
