// The classes whose objects native code makes itself, one set an environment (a worker_thread has its own).
#pragma once

#include <napi.h>

namespace lenet5::addon {

struct Constructors {
  Napi::FunctionReference fit, script_module, compiled_module;
};

// What registration.cpp has put there.
inline Constructors& constructors(Napi::Env env) { return *env.GetInstanceData<Constructors>(); }

}  // namespace lenet5::addon
