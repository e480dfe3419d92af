#include "ranks.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "../addon/async_task.h"
#include "../addon/checked.h"
#include "../addon/external.h"
#include "../addon/ranks_table.h"
#include "../core/process_group.h"

namespace lenet5::addon {

template <>
struct ExternalKind<std::shared_ptr<Joining>> {
  static constexpr napi_type_tag tag{0x3d0b6a91c47e25f8, 0xa81f5c6e930d72b4};
  static constexpr const char* name = "an attempt to join the ranks of a training";
};

namespace {

constexpr int64_t kMaxRanks = 100'000, kMaxPort = 65535, kMaxSeconds = 100 * 24 * 3600;

// --- the table's functions: `self` is a LentRanks

struct LentRanks {
  std::shared_ptr<ProcessGroup> group;
  std::atomic<int64_t> holders{1};
};

LentRanks& lent(void* self) { return *static_cast<LentRanks*>(self); }

void copy_text(char* to, size_t size, const std::string& text) {
  const size_t length = std::min(size - 1, text.size());
  std::memcpy(to, text.data(), length);
  to[length] = '\0';
}

// To be called inside a catch block.
void report(RanksFailure* failure) {
  const Error error = current_error("DISTRIBUTED_FAILED");
  copy_text(failure->code, sizeof failure->code, error.code());
  copy_text(failure->message, sizeof failure->message, error.what());
}

template <typename Call>
RanksOutcome outcome_of(RanksFailure* failure, Call&& call) {
  try {
    return call() ? RanksOutcome::done : RanksOutcome::stopped;
  } catch (...) {
    report(failure);
    return RanksOutcome::failed;
  }
}

void retain(void* self) { lent(self).holders.fetch_add(1); }

void release(void* self) {
  if (lent(self).holders.fetch_sub(1) == 1) delete &lent(self);
}

float* buffer(void* self, int64_t count, RanksFailure* failure) {
  try {
    return lent(self).group->buffer(count);
  } catch (...) {
    report(failure);
    return nullptr;
  }
}

RanksOutcome sum(void* self, int64_t count, const std::atomic<bool>* stop, RanksFailure* failure) {
  return outcome_of(failure, [&] { return lent(self).group->sum(count, *stop); });
}

RanksOutcome broadcast(void* self, void* bytes, int64_t count, const std::atomic<bool>* stop, RanksFailure* failure) {
  return outcome_of(failure, [&] { return lent(self).group->broadcast(bytes, count, *stop); });
}

// What cannot be told at the end is of no use to anybody.
void finish(void* self) {
  try {
    lent(self).group->finish();
  } catch (...) {
  }
}

void leave(void* self, const char* reason) {
  try {
    lent(self).group->leave(reason);
  } catch (...) {
  }
}

// Without `self` a table is of no use to anybody.
void give_back(RanksTable& table) {
  if (table.self != nullptr) release(std::exchange(table.self, nullptr));
}

Napi::Value external_of(Napi::Env env, std::shared_ptr<ProcessGroup> group) {
  const int64_t rank = group->rank(), size = group->size();
  auto owned = std::make_unique<LentRanks>();
  owned->group = std::move(group);
  auto table = std::make_unique<RanksTable>(
      RanksTable{owned.get(), rank, size, retain, release, buffer, sum, broadcast, finish, leave});
  auto external = Napi::External<RanksTable>::New(env, table.get(), [](Napi::BasicEnv, RanksTable* each) {
    give_back(*each);
    delete each;
  });
  table.release();
  owned.release();
  external.TypeTag(&kRanksTableTag);
  return external;
}

// A table of this very addon: its `self` is looked into.
RanksTable& own_table(const Napi::Value& value) {
  if (value.IsExternal()) {
    const auto external = value.As<Napi::External<RanksTable>>();
    if (external.CheckTypeTag(&kRanksTableTag) && external.Data()->retain == retain) return *external.Data();
  }
  throw Error("INVALID_ARGUMENT", "Expected the ranks of a training for ranks but received " + describe(value));
}

GroupRequest request_of(const Napi::Value& value) {
  const Napi::Object object = object_of(value, "ranks");
  GroupRequest request;
  request.size = integer_of(object.Get("size"), "size", 1, kMaxRanks);
  request.rank = integer_of(object.Get("rank"), "rank", 0, request.size - 1);
  request.host = text_of(object.Get("host"), "host");
  request.port = static_cast<uint16_t>(integer_of(object.Get("port"), "port", 1, kMaxPort));
  request.serves = boolean_of(object.Get("serves"), "serves");
  request.attempt = text_of(object.Get("attempt"), "attempt");
  request.card = text_of(object.Get("card"), "card");
  const double seconds = number_of(object.Get("timeoutSeconds"), "timeoutSeconds");
  if (!(seconds > 0 && seconds <= kMaxSeconds)) {
    throw Error("INVALID_OPTION", "Expected a number of seconds above 0 for timeoutSeconds but received another");
  }
  request.timeout = std::chrono::milliseconds(std::max<int64_t>(1, static_cast<int64_t>(seconds * 1000)));
  return request;
}

// Short enough for a thread's end, which waits for the task.
constexpr std::chrono::milliseconds kWait{200};

class AwaitTask : public AsyncTask {
 public:
  AwaitTask(Napi::Env env, std::shared_ptr<Joining> joining) : AsyncTask(env), joining_(std::move(joining)) {}

 private:
  void Run() override { group_ = joining_->wait_for(kWait); }
  Napi::Value Result(Napi::Env env) override {
    if (!group_) return env.Undefined();
    const auto& cards = group_->cards();
    Napi::Array texts = Napi::Array::New(env, cards.size());
    for (size_t i = 0; i < cards.size(); i++) texts.Set(static_cast<uint32_t>(i), Napi::String::New(env, cards[i]));
    Napi::Object result = Napi::Object::New(env);
    result.Set("cards", texts);
    result.Set("ranks", external_of(env, std::move(group_)));
    return result;
  }
  const char* fallback_code() const override { return "DISTRIBUTED_FAILED"; }

  std::shared_ptr<Joining> joining_;
  std::shared_ptr<ProcessGroup> group_;
};

class LeaveTask : public AsyncTask {
 public:
  // `group`: null where there is nothing to tell.
  LeaveTask(Napi::Env env, std::shared_ptr<ProcessGroup> group, std::string reason)
      : AsyncTask(env), group_(std::move(group)), reason_(std::move(reason)) {}

 private:
  void Run() override {
    if (group_) group_->say_why(reason_);
    group_.reset();
  }
  Napi::Value Result(Napi::Env env) override { return env.Undefined(); }

  std::shared_ptr<ProcessGroup> group_;
  std::string reason_;
};

}  // namespace

Napi::Value join_ranks(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    auto joining = std::make_shared<Joining>(request_of(info[0]));
    return to_external(info.Env(), std::make_unique<std::shared_ptr<Joining>>(std::move(joining)));
  });
}

Napi::Value await_ranks(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    return AsyncTask::start(
        new AwaitTask(info.Env(), from_external<std::shared_ptr<Joining>>(info[0], "the attempt to join")));
  });
}

void stop_joining(const Napi::CallbackInfo& info) {
  with_js_errors(info.Env(), [&] { from_external<std::shared_ptr<Joining>>(info[0], "the attempt to join")->stop(); });
}

Napi::Value leave_ranks(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    std::string reason = text_of(info[1], "reason");
    const RanksTable& table = own_table(info[0]);
    std::shared_ptr<ProcessGroup> group;
    // At once: a training that is stopped next is not to give another reason.
    if (table.self != nullptr && lent(table.self).group->takes_leave()) group = lent(table.self).group;
    return AsyncTask::start(new LeaveTask(info.Env(), std::move(group), std::move(reason)));
  });
}

void free_ranks(const Napi::CallbackInfo& info) {
  with_js_errors(info.Env(), [&] { give_back(own_table(info[0])); });
}

}  // namespace lenet5::addon
