// How libtorch's threads wait for one another.
#pragma once

#include <string>

namespace lenet5::loader {

// The problem: every thread that computes in libtorch has an OpenMP team of its own: Node's main thread, each of its
// pool, a training's. As soon as all teams together have more threads than there are processors, GNU's libgomp lets a
// thread that waits for the next operator spin a hundred times, which is over before that operator comes, and then
// sleep; waking it takes longer than most operators. One call from a second thread halves libtorch's speed for the rest
// of the process's life.
//
// The resolution: with OMP_WAIT_POLICY=ACTIVE it spins a thousand times, some 50 microseconds, and then sleeps.
// GOMP_SPINCOUNT is the count where teams are not too many: 4,000, some 200 microseconds, which is longer than from one
// operator to the next. ACTIVE alone would have it spin for minutes, libgomp's default for 15 milliseconds; on a
// machine that has other work, that is time of the very processor that the thread waited for needs. libgomp reads both
// from the environment when it is opened, and never again: they are there while this lives, are gone before a child
// process could inherit them, and are never set over a choice of the user's.
class OpenMpWaiting {
 public:
  // `folder`: where libtorch lies. A libtorch with LLVM's or Intel's OpenMP takes ACTIVE for "for ever": it gets
  // nothing.
  explicit OpenMpWaiting(const std::string& folder);
  ~OpenMpWaiting();
  OpenMpWaiting(const OpenMpWaiting&) = delete;
  OpenMpWaiting& operator=(const OpenMpWaiting&) = delete;

 private:
  bool set_ = false;
};

}  // namespace lenet5::loader
