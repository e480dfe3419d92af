// One training run on a thread of its own, telling JavaScript of its progress.
//
// Problem: the run takes minutes, so libuv's four threads are no place for it; and it must end cleanly when the loop is
// left, when the worker_thread it belongs to is terminated, and when the process exits in the middle.
// Resolution: a std::thread that talks through a thread-safe function. Whoever ends things halts it, which takes one
// batch at the most: an environment cleanup hook when a worker_thread goes, and the facade's exit listener on
// process.exit(), for which Node calls no hooks in the main thread, while libtorch's static objects would be destroyed
// under the thread.
#pragma once

#include <napi.h>

#include <atomic>
#include <memory>
#include <thread>

#include "../core/model.h"
#include "fit_request.h"

namespace lenet5::addon {

// A run's thread and the flag that ends it. `halt` is for the JavaScript thread that started it.
struct FitThread {
  std::atomic<bool> stop{false};
  std::thread thread;
  // Stops within one batch and waits for it. A second call does nothing.
  void halt();
};

// Starts the thread; the promise settles when the run has ended.
Napi::Promise start_fit(Napi::Env env, std::shared_ptr<Model> model, FitRequest request, Napi::Function on_event,
                        std::shared_ptr<FitThread> run);

}  // namespace lenet5::addon
