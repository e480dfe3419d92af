#include "libtorch_threads.h"

#include <ATen/Parallel.h>

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

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

}  // namespace

void set_libtorch_threads(int threads) { at::set_num_threads(1 + threads_that_start(threads - 1)); }

}  // namespace lenet5
