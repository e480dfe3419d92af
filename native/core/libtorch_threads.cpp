#include "libtorch_threads.h"

#include <ATen/Config.h>
#include <ATen/Parallel.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "../kernels/lenet5_kernels.h"

#if defined(__linux__) && AT_PARALLEL_OPENMP
#include <dlfcn.h>
// OpenMP 5.0; absent from an older libgomp.
extern "C" int omp_pause_resource_all(int kind) __attribute__((weak));
#define LENET5_PAUSES_OPENMP
#endif

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

// Whether the calling thread asked for its number, that is, began to compute, since its team went.
thread_local bool used_since = false;

#ifdef LENET5_PAUSES_OPENMP

// GNU's ends the team of the thread that asks. LLVM's and Intel's end everybody's, in the middle of their work.
bool ends_own_team_only() {
  Dl_info gnu{};
  if (omp_pause_resource_all == nullptr) return false;
  if (dladdr(reinterpret_cast<void*>(omp_pause_resource_all), &gnu) == 0) return false;
  void* const library = dlopen(gnu.dli_fname, RTLD_NOW | RTLD_NOLOAD);
  if (library == nullptr) return false;
  const bool other = dlsym(library, "__kmpc_fork_call") != nullptr;
  dlclose(library);
  return !other;
}

#endif

}  // namespace

void dismiss_team() {
  used_since = false;
#ifdef LENET5_PAUSES_OPENMP
  static const bool possible = ends_own_team_only();
  constexpr int kSoft = 1;
  if (possible) omp_pause_resource_all(kSoft);
#endif
}

void dismiss_used_team() {
  if (used_since) dismiss_team();
}

void follow_libtorch_threads(const std::atomic<int>* threads) {
  followed.store(threads);
  use_libtorch_threads();
}

void use_libtorch_threads() {
  thread_local int used = 0;
  used_since = true;
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
