// The ranks of one training, as one of them sees the others: what they tell each other goes through here.
//
// All ranks make the same calls in the same order, with the same sizes. A call fails with DISTRIBUTED_FAILED where
// another rank left, died or did not come within the time-out; the message names it.
#pragma once

#include <cstdint>

#include "cancellation.h"

namespace lenet5 {

class Collective {
 public:
  virtual ~Collective() = default;
  virtual int64_t rank() const = 0;
  virtual int64_t size() const = 0;
  // The memory that `sum` works on: at least so many floats, on a cache line, zeros at first. Good for the collective's
  // life; it moves when more is asked for.
  virtual float* buffer(int64_t count) = 0;
  // Sums the buffer's first numbers over all ranks, in place: the same bits everywhere. False where `stop` was set
  // before that was done, after which nothing more may be asked.
  virtual bool sum(int64_t count, const Cancellation& stop) = 0;
  // Rank 0's bytes to all. False as in `sum`.
  virtual bool broadcast(void* bytes, int64_t count, const Cancellation& stop) = 0;
  // At a good end: waits, not for long, until all ranks have come to theirs.
  virtual void finish() = 0;
  // At any other: whoever waits for this rank is told why it is in vain. A second call does nothing.
  virtual void leave(const char* reason) = 0;
};

}  // namespace lenet5
