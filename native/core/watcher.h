// Looks, while a call waits on its own thread, whether it still makes sense, and aborts it where it does not.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "../lenet5/cancellation.h"

namespace lenet5 {

class Watcher {
 public:
  // Why a call was aborted.
  enum class Reason { none, stopped, futile };

  // `is_futile` is asked every `slices_per_look` slices of a call, on the watcher's thread, and may take its time;
  // `abort` is called every slice from the moment there is a reason to the call's end.
  Watcher(std::chrono::milliseconds slice, int slices_per_look, std::function<bool()> is_futile,
          std::function<void()> abort)
      : slice_(slice),
        slices_per_look_(slices_per_look),
        is_futile_(std::move(is_futile)),
        abort_(std::move(abort)),
        thread_([this] { run(); }) {}

  ~Watcher() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ends_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  // `stop` has to live until `end`.
  void begin(const Cancellation& stop) {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = &stop;
    call_++;
    reason_ = Reason::none;
  }

  // Why it was aborted, if it was. A look may still be under way.
  Reason end() {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = nullptr;
    return reason_;
  }

  // Between two calls: waits for a look that is still being taken.
  void settle() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return !looking_; });
  }

 private:
  void run() {
    std::unique_lock<std::mutex> lock(mutex_);
    uint64_t seen = 0;
    int slices = 0;
    while (!changed_.wait_for(lock, slice_, [this] { return ends_; })) {
      if (stop_ == nullptr) continue;
      if (std::exchange(seen, call_) != call_) slices = 0;
      if (reason_ == Reason::none && cancelled(stop_)) reason_ = Reason::stopped;
      if (reason_ == Reason::none && ++slices % slices_per_look_ == 0) {
        looking_ = true;
        lock.unlock();
        const bool futile = is_futile_();
        lock.lock();
        looking_ = false;
        changed_.notify_all();
        if (futile && call_ == seen) reason_ = Reason::futile;
      }
      if (reason_ != Reason::none && stop_ != nullptr && call_ == seen) abort_();
    }
  }

  const std::chrono::milliseconds slice_;
  const int slices_per_look_;
  const std::function<bool()> is_futile_;
  const std::function<void()> abort_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ends_ = false, looking_ = false;
  const Cancellation* stop_ = nullptr;  // of the call under way
  uint64_t call_ = 0;
  Reason reason_ = Reason::none;
  std::thread thread_;
};

}  // namespace lenet5
