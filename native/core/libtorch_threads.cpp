#include "libtorch_threads.h"

#include <ATen/Config.h>
#include <ATen/Parallel.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "../kernels/lenet5_kernels.h"

namespace lenet5 {

namespace {

// How many of so many threads start while all of them live.
int threads_that_start(int threads) {
  std::mutex mutex;
  std::condition_variable leave;
  bool counted = false;
  std::vector<std::thread> started;
  try {
    started.reserve(static_cast<size_t>(threads));
    while (static_cast<int>(started.size()) < threads) {
      started.emplace_back([&] {
        std::unique_lock<std::mutex> lock(mutex);
        leave.wait(lock, [&] { return counted; });
      });
    }
  } catch (...) {
    // Those there are is the answer.
  }
  {
    std::lock_guard<std::mutex> lock(mutex);
    counted = true;
  }
  leave.notify_all();
  for (std::thread& thread : started) thread.join();
  return static_cast<int>(started.size());
}

std::atomic<const std::atomic<int>*> followed{nullptr};

// What was found there last, and how many of so many threads start.
std::atomic<int> wanted{0}, process_threads{0};

// 0: nothing to follow, libtorch's own default.
int current_threads() {
  const std::atomic<int>* cell = followed.load();
  if (cell == nullptr) return 0;
  const int threads = cell->load();
  if (threads != wanted.load()) {
    // One after another, or the number of the one could go with the threads of the other.
    static std::mutex mutex;
    const std::lock_guard<std::mutex> lock(mutex);
    if (threads != wanted.load()) {
      process_threads = 1 + threads_that_start(threads - 1);
      kernels::set_num_threads(threads);
      wanted = threads;
    }
  }
  return process_threads;
}

}  // namespace

void follow_libtorch_threads(const std::atomic<int>* threads) {
  followed.store(threads);
  use_libtorch_threads();
}

void use_libtorch_threads() {
  thread_local int used = 0;
  const int threads = current_threads();
  if (threads == 0 || threads == used) return;
  // A thread's first question makes it take over whatever number was set last, and so must come before ours.
  at::get_num_threads();
  at::set_num_threads(threads);
  used = threads;
}

int libtorch_threads() {
  const int threads = current_threads();
  return threads == 0 ? at::get_num_threads() : threads;
}

#if AT_PARALLEL_OPENMP

OneLibtorchThread::OneLibtorchThread() : before_(at::get_num_threads()) {
  if (before_ > 1) at::set_num_threads(1);
}

OneLibtorchThread::~OneLibtorchThread() {
  if (before_ > 1) at::set_num_threads(before_);
}

#else

// A pool of libtorch's own has one number for all its callers.
OneLibtorchThread::OneLibtorchThread() : before_(0) {}
OneLibtorchThread::~OneLibtorchThread() = default;

#endif

}  // namespace lenet5
