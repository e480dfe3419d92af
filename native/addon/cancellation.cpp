#include "cancellation.h"

#include <string>

#include "../lenet5/error.h"
#include "checked.h"
#include "type_tag.h"

namespace lenet5::addon {

namespace {

// Tells objects of this class from all others, before their memory is taken for one.
constexpr napi_type_tag kTag{0x6c0f2a1d9b7e4358, 0x91d3c5e7f0a2b486};

}  // namespace

CancellationClass::CancellationClass(const Napi::CallbackInfo& info) : Napi::ObjectWrap<CancellationClass>(info) {
  const napi_type_tag tag = own_tag(kTag);
  info.This().As<Napi::Object>().TypeTag(&tag);
}

void CancellationClass::JS_cancel(const Napi::CallbackInfo&) { flag_->store(true); }

CancellationPointer cancellation_of(const Napi::Value& value, const char* where) {
  if (value.IsUndefined()) return nullptr;
  const napi_type_tag tag = own_tag(kTag);
  if (value.IsObject() && value.As<Napi::Object>().CheckTypeTag(&tag)) {
    return CancellationClass::Unwrap(value.As<Napi::Object>())->shared();
  }
  throw Error("INVALID_ARGUMENT",
              std::string("Expected a Cancellation for ") + where + " but received " + describe(value));
}

}  // namespace lenet5::addon
