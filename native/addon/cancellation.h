// The object by which JavaScript takes back work that runs on another thread.
#pragma once

#include <napi.h>

#include <memory>

#include "../lenet5/cancellation.h"

namespace lenet5::addon {

// new Cancellation(), with one method: cancel().
class CancellationClass : public Napi::ObjectWrap<CancellationClass> {
 public:
  explicit CancellationClass(const Napi::CallbackInfo& info);

  void JS_cancel(const Napi::CallbackInfo& info);

  const CancellationPointer& shared() const { return shared_; }

 private:
  std::shared_ptr<Cancellation> flag_ = std::make_shared<Cancellation>(false);
  CancellationPointer shared_ = flag_;
};

// What a call was given; null for undefined. Throws INVALID_ARGUMENT for anything else.
CancellationPointer cancellation_of(const Napi::Value& value, const char* where);

}  // namespace lenet5::addon
