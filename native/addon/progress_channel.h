// Tells JavaScript how far work on another thread has come.
//
// Problem: that thread may be in the middle of telling when the worker_thread it works for is terminated, and Node then
// frees the thread-safe function under it. Resolution: a lock around both ends; once the function is gone, telling does
// nothing. And of many numbers that JavaScript has had no time for, only the latest is told.
#pragma once

#include <napi.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

namespace lenet5::addon {

class ProgressChannel {
 public:
  // `callback` is called with one number. What it throws is dropped: the facade's own does not throw.
  static std::shared_ptr<ProgressChannel> open(Napi::Env env, const Napi::Function& callback);

  // From any thread.
  void tell(int64_t done);
  // From the working thread, at its end.
  void close();
  // From the JavaScript thread: nothing is told after this.
  void silence() { silent_ = true; }

 private:
  struct Holder {
    std::shared_ptr<ProgressChannel> channel;
  };
  static void deliver(Napi::Env env, Napi::Function callback, Holder* holder, void*);
  static void gone(Napi::Env, void*, Holder* holder);
  using Function = Napi::TypedThreadSafeFunction<Holder, void, deliver>;

  std::mutex mutex_;
  bool open_ = true;
  Function function_;
  std::atomic<int64_t> done_{0};
  std::atomic<bool> waiting_{false};
  bool silent_ = false;
};

}  // namespace lenet5::addon
