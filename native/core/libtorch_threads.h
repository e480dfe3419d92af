// libtorch's number of threads.
#pragma once

#include <atomic>
#include <chrono>

namespace lenet5 {

// libtorch computes on as many threads as this says from now on, or on as many as the system lets start. libtorch
// cannot do with fewer than it was told: Debian's 1.13 waits for ever for a thread of its pool that could not start,
// and libgomp ends the process. The number has to stay for the process's life; somebody else changes it.
//
// For the whole process: libtorch itself keeps a number for each thread that calls it, so everything that computes says
// use_libtorch_threads() first.
void follow_libtorch_threads(const std::atomic<int>* threads);

// Makes the process's number the calling thread's.
void use_libtorch_threads();

// The process's number of threads.
int libtorch_threads();

// Ends the threads that the calling thread's computing left behind, for one that will not compute again soon. The next
// parallel operator starts new ones, which takes some tens of microseconds; as long as they are there they count
// (native/loader/openmp_waiting.h): two teams on two processors are one too many, and none of them spins long enough.
void dismiss_team();

// The same where the calling thread has computed since it last did so.
void dismiss_used_team();
// How long a thread that is kept for computing keeps its team for the next call.
constexpr std::chrono::milliseconds kTeamIdle{100};

// One thread for the calling thread's computing, as long as this lives: for work that is too small to be shared.
class OneLibtorchThread {
 public:
  OneLibtorchThread();
  ~OneLibtorchThread();
  OneLibtorchThread(const OneLibtorchThread&) = delete;
  OneLibtorchThread& operator=(const OneLibtorchThread&) = delete;

 private:
  int before_;
};

}  // namespace lenet5
