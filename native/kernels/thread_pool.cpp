#include "thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "lenet5_kernels.h"

namespace lenet5::kernels {
namespace {

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

struct Job {
  void (*task)(void*, int64_t);
  void* context;
  int64_t tasks;
};

class Pool {
 public:
  void resize(int threads) {
    std::lock_guard<std::mutex> caller(caller_);
    stop_workers();
    wanted_ = std::max(1, threads);
  }

  int size() const { return wanted_; }

  void run(const Job& job) {
    std::unique_lock<std::mutex> caller(caller_, std::try_to_lock);
    if (!caller.owns_lock() || wanted_ == 1 || job.tasks == 1) {
      for (int64_t i = 0; i < job.tasks; ++i) job.task(job.context, i);
      return;
    }
    failure_ = nullptr;
    start_workers();
    job_ = job;
    next_.store(0, std::memory_order_relaxed);
    state_.store(kOpen, std::memory_order_release);
    generation_.fetch_add(1, std::memory_order_seq_cst);
    if (sleeping_.load(std::memory_order_seq_cst) > 0) {
      std::lock_guard<std::mutex> lock(mutex_);
      wake_.notify_all();
    }
    work(job);
    // A worker that has not joined by now would find nothing left: it is not waited for.
    state_.fetch_and(~kOpen, std::memory_order_acq_rel);
    for (int i = 0; state_.load(std::memory_order_acquire) != 0; ++i) {
      // A worker that takes this long has perhaps lost its processor to someone else: offer it this one.
      if (i < 2000)
        pause_briefly();
      else
        std::this_thread::yield();
    }
    // Nobody else is in the job any more.
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

 private:
  static constexpr std::chrono::microseconds kSpin{50};
  static constexpr int64_t kOpen = 1, kMember = 2;  // state_: whether the job may be joined, and how many are in it

  // A task that throws on a worker would end the process: its exception is kept for the caller, and what has not begun
  // is left out.
  void work(const Job& job) {
    try {
      for (;;) {
        const int64_t index = next_.fetch_add(1, std::memory_order_relaxed);
        if (index >= job.tasks) return;
        job.task(job.context, index);
      }
    } catch (...) {
      next_.store(job.tasks, std::memory_order_relaxed);
      std::lock_guard<std::mutex> lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
  }

  bool join() {
    int64_t state = state_.load(std::memory_order_relaxed);
    while (state & kOpen) {
      if (state_.compare_exchange_weak(state, state + kMember, std::memory_order_acquire)) return true;
    }
    return false;
  }

  // Workers belong to an epoch, which ends when the pool is resized; they are detached, so nothing waits at exit.
  void start_workers() {
    while (started_ < wanted_ - 1) {
      try {
        const uint64_t epoch = epoch_.load();
        const uint64_t seen = generation_.load();
        std::thread([this, epoch, seen] { worker(epoch, seen); }).detach();
      } catch (...) {
        return;  // no more threads, or no memory for one: those there are do the work
      }
      ++started_;
    }
  }

  void stop_workers() {
    if (started_ == 0) return;
    leaving_.store(started_, std::memory_order_relaxed);
    epoch_.fetch_add(1, std::memory_order_seq_cst);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      wake_.notify_all();
    }
    while (leaving_.load(std::memory_order_acquire) > 0) std::this_thread::yield();
    started_ = 0;
  }

  bool called(uint64_t epoch, uint64_t seen) const {
    return generation_.load(std::memory_order_seq_cst) != seen || epoch_.load(std::memory_order_seq_cst) != epoch;
  }

  void worker(uint64_t epoch, uint64_t seen) {
    for (;;) {
      wait(epoch, seen);
      if (epoch_.load(std::memory_order_acquire) != epoch) {
        leaving_.fetch_sub(1, std::memory_order_release);
        return;
      }
      seen = generation_.load(std::memory_order_acquire);
      if (!join()) continue;
      work(job_);
      state_.fetch_sub(kMember, std::memory_order_release);
    }
  }

  void wait(uint64_t epoch, uint64_t seen) {
    const auto begin = std::chrono::steady_clock::now();
    do {
      for (int i = 0; i < 64; ++i) {
        if (called(epoch, seen)) return;
        pause_briefly();
      }
    } while (std::chrono::steady_clock::now() - begin < kSpin);
    std::unique_lock<std::mutex> lock(mutex_);
    sleeping_.fetch_add(1, std::memory_order_seq_cst);
    wake_.wait(lock, [&] { return called(epoch, seen); });
    sleeping_.fetch_sub(1, std::memory_order_seq_cst);
  }

  std::mutex caller_;
  std::atomic<int> wanted_{static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))};
  int started_ = 0;
  Job job_{};
  std::exception_ptr failure_;  // the first of the job's, under mutex_ while it runs
  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) std::atomic<int64_t> state_{0};
  std::atomic<int> leaving_{0};
  alignas(64) std::atomic<uint64_t> generation_{0};
  std::atomic<uint64_t> epoch_{0};
  std::atomic<int> sleeping_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
};

Pool& pool() {
  static Pool* const instance = new Pool;
  return *instance;
}

}  // namespace

void set_num_threads(int threads) { pool().resize(threads); }
int num_threads() { return pool().size(); }

void run_parallel(int64_t tasks, void (*task)(void* context, int64_t index), void* context) {
  if (tasks > 0) pool().run({task, context, tasks});
}

}  // namespace lenet5::kernels
