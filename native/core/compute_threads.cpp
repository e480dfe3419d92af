#include "compute_threads.h"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "libtorch_threads.h"

namespace lenet5 {

namespace {

// Compute threads that may have one.
std::atomic<int> teams{0};

class ComputeThread {
 public:
  // Throws std::system_error where the system refuses another thread.
  ComputeThread() {
    std::thread([this] { loop(); }).detach();
  }

  void run(const std::function<void()>& work) {
    std::exception_ptr error;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      work_ = &work;
      wake_.notify_one();
      done_.wait(lock, [this] { return work_ == nullptr; });
      error = std::exchange(error_, nullptr);
    }
    if (error) std::rethrow_exception(error);
  }

  // Of a thread that is idle, and stays so meanwhile.
  void dismiss() {
    std::unique_lock<std::mutex> lock(mutex_);
    if (!has_team_) return;
    dismissed_ = true;
    wake_.notify_one();
    done_.wait(lock, [this] { return !has_team_; });
  }

 private:
  [[noreturn]] void loop() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      const auto called = [this] { return work_ != nullptr; };
      wake_.wait_for(lock, kTeamIdle, [&] { return called() || dismissed_; });
      if (!called()) {
        dismiss_team();
        if (has_team_) teams--;
        has_team_ = false;
        done_.notify_all();
        wake_.wait(lock, called);
      }
      dismissed_ = false;
      if (!has_team_) teams++;
      has_team_ = true;
      lock.unlock();
      std::exception_ptr error;
      try {
        (*work_)();
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      error_ = std::move(error);
      work_ = nullptr;
      done_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  const std::function<void()>* work_ = nullptr;
  std::exception_ptr error_;
  bool dismissed_ = false, has_team_ = false;
};

struct Idle {
  std::mutex mutex;
  std::vector<ComputeThread*> threads;
};

// Never destroyed, like the threads: whatever ends the process does not wait for them.
Idle& idle() {
  static auto* const all = new Idle;
  return *all;
}

// The one that fell idle last, a new one, or null.
ComputeThread* take() {
  {
    const std::lock_guard<std::mutex> lock(idle().mutex);
    if (!idle().threads.empty()) {
      ComputeThread* const last = idle().threads.back();
      idle().threads.pop_back();
      return last;
    }
  }
  try {
    return new ComputeThread;
  } catch (const std::system_error&) {
    return nullptr;
  }
}

void give_back(ComputeThread* thread) {
  const std::lock_guard<std::mutex> lock(idle().mutex);
  idle().threads.push_back(thread);
}

}  // namespace

void on_compute_thread(const std::function<void()>& work) {
  ComputeThread* const thread = take();
  if (thread == nullptr) return work();
  const std::unique_ptr<ComputeThread, void (*)(ComputeThread*)> back(thread, give_back);
  thread->run(work);
}

void dismiss_compute_teams() {
  // Nearly always: a look, and no lock.
  if (teams == 0) return;
  const std::lock_guard<std::mutex> lock(idle().mutex);
  for (ComputeThread* const thread : idle().threads) thread->dismiss();
}

}  // namespace lenet5
