// The kernels' one pool of threads.
//
// Problem: a training step lasts half a millisecond and has several parallel phases, so waking a sleeping thread for
// each would cost as much as the work; but threads that spin for ever take the machine from everyone else. Resolution:
// workers spin for some tens of microseconds after their last task and then sleep. The pool is never destroyed, so that
// a process may exit while work is under way.
#pragma once

#include <cstdint>

namespace lenet5::kernels {

// Runs task(context, 0) … task(context, tasks - 1) on the pool and the caller, and returns when all are done. Tasks are
// handed out in order, each to whoever is free. Where the pool is busy with another caller, or has one thread, the
// caller runs them all itself. A task that throws ends the job: what has not begun is left out, and the first exception
// reaches the caller when all that has begun is done.
void run_parallel(int64_t tasks, void (*task)(void* context, int64_t index), void* context);

template <typename Function>
void parallel_for(int64_t tasks, Function&& function) {
  run_parallel(tasks, [](void* context, int64_t index) { (*static_cast<Function*>(context))(index); }, &function);
}

}  // namespace lenet5::kernels
