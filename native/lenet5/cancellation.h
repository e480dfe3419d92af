// Asks work on another thread to end; looked at between batches.
#pragma once

#include <atomic>
#include <memory>

namespace lenet5 {

using Cancellation = std::atomic<bool>;
using CancellationPointer = std::shared_ptr<const Cancellation>;

inline bool cancelled(const Cancellation* cancellation) {
  return cancellation != nullptr && cancellation->load(std::memory_order_relaxed);
}

}  // namespace lenet5
