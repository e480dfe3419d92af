// A training run, from the copy of its data to its end: what LeNet5's prepareFit gives (NativeFit in
// lib/native/types.ts).
//
// Problem: the run takes minutes, so libuv's four threads are no place for it; and it must end cleanly when the loop is
// left, when the worker_thread it belongs to is terminated, and when the process exits in the middle.
// Resolution: a std::thread that talks through a thread-safe function. Whoever ends things halts it, which takes one
// batch at the most: an environment cleanup hook when a worker_thread goes, and the facade's exit listener on
// process.exit(), for which Node calls no hooks in the main thread, while libtorch's static objects would be destroyed
// under the thread.
#pragma once

#include <napi.h>

#include <memory>
#include <optional>
#include <thread>

#include "../lenet5/model.h"
#include "external.h"
#include "external_memory.h"
#include "fit_request.h"

namespace lenet5::addon {

// A run's thread and the flag that ends it.
struct FitThread {
  Cancellation stop{false};
  std::thread thread;
  // Stops within one batch and waits for it. A second call does nothing. For the JavaScript thread that started it.
  void halt();
};

class FitClass : public Napi::ObjectWrap<FitClass> {
 public:
  // new Fit(External<PreparedFit>), by LeNet5's prepareFit only.
  explicit FitClass(const Napi::CallbackInfo& info);

  Napi::Value JS_survey(const Napi::CallbackInfo& info);
  Napi::Value JS_start(const Napi::CallbackInfo& info);
  void JS_stop(const Napi::CallbackInfo& info);
  void JS_halt(const Napi::CallbackInfo& info);
  void JS_dispose(const Napi::CallbackInfo& info);

 private:
  // Throws DISPOSED.
  std::shared_ptr<const FitRequest> request() const;

  std::shared_ptr<Model> model_;
  std::shared_ptr<const FitRequest> request_;
  std::optional<ExternalMemory> memory_;
  // Shared with the model, which stops a run of its own when it is disposed of.
  std::shared_ptr<FitThread> run_;
  bool started_ = false;
};

// What a FitClass is made of.
struct PreparedFit {
  std::shared_ptr<Model> model;
  std::shared_ptr<const FitRequest> request;
  std::shared_ptr<FitThread> run;
};

template <>
struct ExternalKind<PreparedFit> {
  static constexpr napi_type_tag tag{0x3f9c1b5d7e2a4068, 0xa4d0e6b8c2f17395};
  static constexpr const char* name = "a prepared training";
};

}  // namespace lenet5::addon
