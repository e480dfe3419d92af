// A native object in JavaScript's hands, which cannot look into it but may hand the wrong one back: each kind carries a
// tag, which is checked before the memory is taken for anything.
#pragma once

#include <napi.h>

#include <memory>
#include <string>
#include <utility>

#include "../lenet5/error.h"
#include "checked.h"
#include "type_tag.h"

namespace lenet5::addon {

// To be specialised for each type that crosses: its tag (random numbers) and its name in messages.
template <typename T>
struct ExternalKind;

template <typename T>
Napi::Value to_external(Napi::Env env, std::unique_ptr<T> object) {
  // With a finalizer that asks for no environment, so that it may run at once.
  auto external = Napi::External<T>::New(env, object.get(), [](Napi::BasicEnv, T* each) { delete each; });
  object.release();
  const napi_type_tag tag = own_tag(ExternalKind<T>::tag);
  external.TypeTag(&tag);
  return external;
}

// Throws INVALID_ARGUMENT for anything but an object that to_external<T> made.
template <typename T>
T& from_external(const Napi::Value& value, const char* where) {
  if (value.IsExternal()) {
    const auto external = value.As<Napi::External<T>>();
    const napi_type_tag tag = own_tag(ExternalKind<T>::tag);
    if (external.CheckTypeTag(&tag)) return *external.Data();
  }
  throw Error("INVALID_ARGUMENT",
              std::string("Expected ") + ExternalKind<T>::name + " for " + where + " but received " + describe(value));
}

}  // namespace lenet5::addon
