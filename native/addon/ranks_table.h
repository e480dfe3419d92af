// The ranks of a training, as they go from the addon with libtorch, whose c10d lets them talk, to whichever addon
// trains.
//
// Problem: the fused engine's addon knows nothing of libtorch, and neither addon may look into what the other made:
// they may be of different compilers, with different strings and exceptions. Resolution: what crosses is a table of
// plain C functions, under a tag that both know, and every function gives its failure back as text. The tag changes
// with the table.
#pragma once

#include <napi.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "../lenet5/collective.h"
#include "../lenet5/error.h"
#include "checked.h"

namespace lenet5::addon {

struct RanksFailure {
  char code[64];
  char message[4096];
};

enum class RanksOutcome : int32_t { done = 0, stopped = 1, failed = 2 };

// Who holds one has taken it by `retain` and gives it back by `release`, from any thread. All else as in Collective.
struct RanksTable {
  void* self;  // null once it was given back
  int64_t rank, size;
  void (*retain)(void* self);
  void (*release)(void* self);
  float* (*buffer)(void* self, int64_t count, RanksFailure* failure);  // null: failed
  RanksOutcome (*sum)(void* self, int64_t count, const std::atomic<bool>* stop, RanksFailure* failure);
  RanksOutcome (*broadcast)(void* self, void* bytes, int64_t count, const std::atomic<bool>* stop,
                            RanksFailure* failure);
  void (*finish)(void* self);
  void (*leave)(void* self, const char* reason);
};

constexpr napi_type_tag kRanksTableTag{0x5be1f0937a2c84d6, 0x92c7d41e6083fba5};

// A table as the training takes it.
class BorrowedRanks : public Collective {
 public:
  explicit BorrowedRanks(const RanksTable& table) : table_(table) { table_.retain(table_.self); }
  ~BorrowedRanks() override { table_.release(table_.self); }
  BorrowedRanks(const BorrowedRanks&) = delete;
  BorrowedRanks& operator=(const BorrowedRanks&) = delete;

  int64_t rank() const override { return table_.rank; }
  int64_t size() const override { return table_.size; }
  float* buffer(int64_t count) override {
    RanksFailure failure{};
    float* const memory = table_.buffer(table_.self, count, &failure);
    if (memory == nullptr) fail(failure);
    // Nothing that it returns points to `failure`.
    // cppcheck-suppress returnDanglingLifetime
    return memory;
  }
  bool sum(int64_t count, const Cancellation& stop) override {
    RanksFailure failure{};
    return done(table_.sum(table_.self, count, &stop, &failure), failure);
  }
  bool broadcast(void* bytes, int64_t count, const Cancellation& stop) override {
    RanksFailure failure{};
    return done(table_.broadcast(table_.self, bytes, count, &stop, &failure), failure);
  }
  void finish() override { table_.finish(table_.self); }
  void leave(const char* reason) override { table_.leave(table_.self, reason); }

 private:
  static bool done(RanksOutcome outcome, const RanksFailure& failure) {
    if (outcome == RanksOutcome::failed) fail(failure);
    return outcome == RanksOutcome::done;
  }
  [[noreturn]] static void fail(const RanksFailure& failure) { throw Error(failure.code, failure.message); }

  RanksTable table_;
};

// Throws INVALID_ARGUMENT for anything but such a table. Null for undefined.
inline std::shared_ptr<Collective> ranks_of(const Napi::Value& value, const char* where) {
  if (value.IsUndefined()) return nullptr;
  if (value.IsExternal()) {
    const auto external = value.As<Napi::External<RanksTable>>();
    if (external.CheckTypeTag(&kRanksTableTag) && external.Data()->self != nullptr) {
      return std::make_shared<BorrowedRanks>(*external.Data());
    }
  }
  throw Error("INVALID_ARGUMENT",
              std::string("Expected the ranks of a training for ") + where + " but received " + describe(value));
}

}  // namespace lenet5::addon
