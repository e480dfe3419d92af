#include "short_calls.h"

#include <algorithm>

namespace lenet5 {

bool ShortCalls::expected(uint64_t kind) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = records_.find(kind);
  return found != records_.end() && found->second.streak >= found->second.needed;
}

void ShortCalls::took(uint64_t kind, int64_t nanoseconds, bool here) {
  const std::lock_guard<std::mutex> lock(mutex_);
  // Every call of another kind, a counter among the arguments perhaps: none will be met again.
  if (records_.size() >= kMostKinds && records_.count(kind) == 0) records_.clear();
  Record& record = records_[kind];
  if (nanoseconds <= kShort) {
    record.streak = std::min(record.streak + 1, record.needed + kRemembered);
  } else if (nanoseconds <= kFarTooLong) {
    record.streak = std::max(record.streak - kOutweighed * (nanoseconds / kShort), int64_t{0});
  } else {
    record.streak = 0;
    if (here) record.needed = std::min(record.needed * 8, kLongestStreak);
  }
}

}  // namespace lenet5
