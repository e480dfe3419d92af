// Which calls of a module are short enough to be made by the thread that asks for them, and be awaited all the same.
#pragma once

#include <cstdint>
#include <mutex>
#include <unordered_map>

namespace lenet5 {

// The problem: the way to another thread and back takes longer than a small call itself, and a call that is made here
// holds up the event loop. Nobody knows how long a call takes before it was made: its code may wait, or depend on what
// the tensors hold. The resolution: a call may be made here when those of the same kind (kind_of_call) before it were
// short. One that was longer, which happens to any call on a machine that is at work, outweighs some of them, the more
// the longer it was; one that was far too long sends all of its kind back to another thread, until eight have been
// short again, and where it held up the event loop, eight times as many as before.
class ShortCalls {
 public:
  // Nanoseconds. The way there and back takes 50,000 to 200,000; a server's event loop is held up for longer than this
  // by the JSON of one request.
  static constexpr int64_t kShort = 750'000;
  static constexpr int64_t kFarTooLong = 10'000'000;
  static constexpr int64_t kFirstStreak = 8, kLongestStreak = int64_t{1} << 24;
  // Short calls that one longer one outweighs, for each kShort that it took, and how many more than needed are
  // remembered: two longer ones in a row are enough to send the next one away.
  static constexpr int64_t kOutweighed = 4, kRemembered = 4;

  bool expected(uint64_t kind) const;
  // `here`: it was made by the thread that asked for it.
  void took(uint64_t kind, int64_t nanoseconds, bool here);

 private:
  struct Record {
    int64_t streak = 0;
    int64_t needed = kFirstStreak;
  };
  static constexpr size_t kMostKinds = 256;

  mutable std::mutex mutex_;
  std::unordered_map<uint64_t, Record> records_;
};

}  // namespace lenet5
