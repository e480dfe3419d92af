// One call's arguments, between the moment of the call and that of its run.
#pragma once

#include <napi.h>

#include <memory>

#include "../addon/external.h"
#include "../addon/external_memory.h"
#include "../core/script_module.h"

namespace lenet5::addon {

struct PreparedCall {
  PreparedCall(napi_env env, Arguments copied);

  Arguments arguments;
  ExternalMemory memory;
};
// Null once it has run or was dropped.
using PreparedPointer = std::unique_ptr<PreparedCall>;

template <>
struct ExternalKind<PreparedPointer> {
  static constexpr napi_type_tag tag{0x1d5f8a3c6b9e2047, 0xc8e4a2067f1b3d59};
  static constexpr const char* name = "a prepared call";
};

// The arguments of a call, copied, from the three arrays that prepareCall and runSync take.
Arguments arguments_of(const Napi::Value& positional, const Napi::Value& names, const Napi::Value& values);

// In JavaScript's hands until its turn comes.
Napi::Value keep_call(Napi::Env env, Arguments arguments);

// The call that keep_call made. Throws INVALID_ARGUMENT where it has run before, or was dropped.
PreparedPointer& kept_call(const Napi::Value& kept);

// The same, which runs now. Throws INVALID_ARGUMENT where it has run before, or was dropped.
PreparedPointer take_call(const Napi::Value& kept);

// prepareCall(positional, names, values): copies the arguments of a call that may have to wait for its turn.
Napi::Value prepare_call(const Napi::CallbackInfo& info);
// dropCall(call): for a call that will not run.
void drop_call(const Napi::CallbackInfo& info);

}  // namespace lenet5::addon
