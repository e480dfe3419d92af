// One training run on a thread of its own, telling JavaScript of its progress.
//
// Problem: the run takes minutes, so libuv's four threads are no place for it; and it must end cleanly when the loop is
// left, when the worker_thread it belongs to is terminated, and when the process exits in the middle.
// Resolution: a std::thread that talks through a thread-safe function; an environment cleanup hook sets the stop flag
// and joins, which takes one batch at the most.
#pragma once

#include <napi.h>

#include <atomic>
#include <memory>
#include <thread>

#include "../core/model.h"

namespace lenet5::addon {

struct FitRequest {
  TrainOptions options;
  std::shared_ptr<const ImageSet> train, validation;
  TrainingState start;
};

class FitSession {
 public:
  // Starts the thread; the promise settles when the run has ended. `stop` is shared with whoever may end it.
  static Napi::Promise start(Napi::Env env, std::shared_ptr<Model> model, FitRequest request, Napi::Function on_event,
                             std::shared_ptr<std::atomic<bool>> stop);
};

}  // namespace lenet5::addon
