// Work off the event loop that ends in a promise: a subclass writes Run (on libuv's pool, no JavaScript) and Result.
//
// Problem: an exception while the result is built would leave the promise pending for ever, and one that escapes while
// a worker_thread is being terminated would end the process. Resolution: both ends catch everything; a failed Result
// rejects, and what cannot be told to a dying environment is dropped.
#pragma once

#include <napi.h>

#include <optional>

#include "js_error.h"

namespace lenet5::addon {

class AsyncTask : public Napi::AsyncWorker {
 public:
  // Queues a new task and returns its promise; the task deletes itself when it has settled.
  static Napi::Promise start(AsyncTask* task) {
    Napi::Promise promise = task->deferred_.Promise();
    task->Queue();
    return promise;
  }

 protected:
  explicit AsyncTask(Napi::Env env) : Napi::AsyncWorker(env), deferred_(Napi::Promise::Deferred::New(env)) {}

  virtual void Run() = 0;
  virtual Napi::Value Result(Napi::Env env) = 0;
  // On the JavaScript thread, before the promise settles one way or the other.
  virtual void Settling() {}
  // The code for exceptions that carry none of their own.
  virtual const char* fallback_code() const { return "NATIVE_FAILURE"; }

 private:
  void Execute() final {
    try {
      Run();
    } catch (...) {
      error_ = current_error(fallback_code());
    }
  }

  void OnOK() final {
    Napi::Env env = Env();
    Napi::HandleScope scope(env);
    Settling();
    try {
      if (error_) {
        deferred_.Reject(to_js_error(env, *error_).Value());
        return;
      }
      try {
        deferred_.Resolve(Result(env));
      } catch (const Napi::Error& error) {
        deferred_.Reject(error.Value());
      } catch (...) {
        deferred_.Reject(to_js_error(env, current_error()).Value());
      }
    } catch (...) {
      // The environment is going away: nobody is left to hear of it.
    }
  }

  void OnError(const Napi::Error&) final {}

  Napi::Promise::Deferred deferred_;
  std::optional<Error> error_;
};

}  // namespace lenet5::addon
