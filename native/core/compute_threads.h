// Threads that are kept for computing in libtorch.
#pragma once

#include <functional>

namespace lenet5 {

// Runs `work` on one of them, the one that fell idle last, and waits for its end; what it throws is thrown here.
//
// The problem: Node's pool hands work to each of its four threads in turn. Each has an OpenMP team of its own, whose
// threads have fallen asleep by the time that its turn comes again, and four teams are more threads than there are
// processors (native/loader/openmp_waiting.h). The resolution: calls that follow one another are computed by one thread
// with one team that is still awake, and calls at once by as many threads as there are calls. The caller waits, so
// nothing of this outlives a task of Node's pool. Where no thread can be had, the caller computes.
void on_compute_thread(const std::function<void()>& work);

// For a thread that is about to compute by itself: those that are idle have ended their teams when it returns, and not
// when they have waited for long. Two teams on two processors take each other's time (native/loader/openmp_waiting.h).
void dismiss_compute_teams();

}  // namespace lenet5
