// Problem: ranks die, hang and leave, and libtorch's own calls are of little help then: a collective waits for as long
// as its time-out, cannot be taken back, and names an address where a person wants a rank; a store whose process is
// stopped answers nothing for ever; and a group with work under way cannot be destroyed before that work has timed out.
//
// Resolution: whoever waits in a collective looks up in between: at `stop`, and in the store for a rank that has left,
// which says why under the key `left`. Where Gloo fails, the rank that sees it calls the roll: each that is still there
// writes its name into the store, and who has not done so within some seconds is named. The roll is called once before
// Gloo connects them, too, which cannot be interrupted. The store ends with the rank that keeps it, so that one stays
// until the others have read in it why they end. The store is asked by threads that nobody waits for longer than he has
// patience, and a group with work under way is destroyed by such a thread too. Gloo's memory is the group's own, so
// that it may go on writing there.
//
// The class that is used here, ProcessGroupGloo, has a header in libtorch's wheels that includes Gloo's headers, which
// are not there; gloo_declarations/README.md says what stands in for them.
#include "process_group.h"

#include "../lenet5/error.h"

#if LENET5_C10D

#include <ATen/ATen.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>

#include "direct_sum.h"
#include "watcher.h"

namespace lenet5 {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kSlice{50};        // between two looks at `stop`
constexpr int kSlicesPerPoll = 5;         // between two looks into the store
constexpr milliseconds kPatience{2'000};  // with the store
constexpr milliseconds kRollCall{5'000};  // for the ranks that are still there to say so
constexpr milliseconds kGoodbye{10'000};  // for all to come to the end
constexpr milliseconds kHearing{2'000};   // for the others to read why a rank ends
constexpr milliseconds kConnect{10'000};  // for Gloo, at least, once all are there
// Beyond the time-out, for a rank that has met the others: the roll, the connections, and what is to be found out where
// they fail.
constexpr milliseconds kMeeting{30'000};
constexpr int64_t kAlignment = 64;

// --- an allocation that tells whether libtorch's class is larger than its header says

class GuardedGroup : public c10d::ProcessGroupGloo {
 public:
  using ProcessGroupGloo::ProcessGroupGloo;

  static void* operator new(std::size_t size) {
    void* const memory = ::operator new(size + kGuard);
    std::memset(static_cast<unsigned char*>(memory) + size, kMark, kGuard);
    return memory;
  }
  static void operator delete(void* memory) { ::operator delete(memory); }

  // Nothing was written behind the object, and what was written lies where the header has it.
  bool is_as_declared(int rank, int size, int threads) {
    const auto* behind = reinterpret_cast<const unsigned char*>(this) + sizeof(GuardedGroup);
    return std::all_of(behind, behind + kGuard, [](unsigned char byte) { return byte == kMark; }) &&
           getRank() == rank && getSize() == size && getNumThreads() == threads;
  }

 private:
  static constexpr std::size_t kGuard = 512;
  static constexpr unsigned char kMark = 0xA5;
};

constexpr int kGlooThreads = 2;

// --- the store

// What libtorch or Gloo says, without its backtrace, its source file in front and its advice behind.
std::string cause(const char* text) {
  std::string line(text);
  line.erase(std::min(line.find('\n'), line.size()));
  if (line.rfind('[', 0) == 0) {
    const size_t end = line.find("] ");
    if (end != std::string::npos && line.find(".cc:") < end) line.erase(0, end + 2);
  }
  line.erase(std::min(line.find(". This is typically"), line.size()));
  return line;
}

c10::intrusive_ptr<c10d::Store> connected(const GroupRequest& request, bool serves, milliseconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = request.port;
  options.isServer = serves;
  options.waitWorkers = false;
  options.timeout = timeout;
  options.multiTenant = true;
  return c10::make_intrusive<c10d::TCPStore>(request.host, options);
}

// A store is kept for the life of the process: rank 0's holds what the others still read when it is done.
struct Meeting {
  c10::intrusive_ptr<c10d::Store> store;
  int64_t groups = 0;
};
std::mutex meetings_mutex;
std::map<std::string, Meeting>& meetings() {
  static auto* const all = new std::map<std::string, Meeting>;
  return *all;
}
std::atomic<bool> in_a_group{false};

struct OneGroup {
  OneGroup() {
    if (in_a_group.exchange(true)) {
      throw Error("MODEL_BUSY",
                  "Expected one distributed training at a time for the process but received a second one");
    }
  }
  ~OneGroup() { in_a_group.store(false); }
  OneGroup(const OneGroup&) = delete;
  OneGroup& operator=(const OneGroup&) = delete;
};

// The store as those see it who must not wait for it.
class Notices {
 public:
  explicit Notices(c10::intrusive_ptr<c10d::Store> store) : store_(std::move(store)) {}

  // The answer, or nothing where none came in time, or an error did. Nothing at once while an earlier question waits.
  template <typename T>
  std::optional<T> ask(milliseconds patience, std::function<T(c10d::Store&)> question) {
    if (waiting_->exchange(true)) return std::nullopt;
    return answered<T>(patience, std::move(question), waiting_);
  }

  // Says something once, whatever else is being asked.
  void say(milliseconds patience, std::function<void(c10d::Store&)> message) {
    answered<bool>(
        patience,
        [message = std::move(message)](c10d::Store& store) {
          message(store);
          return true;
        },
        std::make_shared<std::atomic<bool>>(true));
  }

 private:
  template <typename T>
  std::optional<T> answered(milliseconds patience, std::function<T(c10d::Store&)> question,
                            const std::shared_ptr<std::atomic<bool>>& waiting) {
    struct Answer {
      std::mutex mutex;
      std::condition_variable changed;
      bool over = false;
      std::optional<T> value;
    };
    const auto answer = std::make_shared<Answer>();
    try {
      std::thread([answer, waiting, store = store_, question = std::move(question)] {
        std::optional<T> value;
        try {
          value = question(*store);
        } catch (...) {
          // The store is gone, or does not know.
        }
        waiting->store(false);
        const std::lock_guard<std::mutex> lock(answer->mutex);
        answer->value = std::move(value);
        answer->over = true;
        answer->changed.notify_all();
      }).detach();
    } catch (const std::system_error&) {
      // No thread is to be had.
      waiting->store(false);
      return std::nullopt;
    }
    std::unique_lock<std::mutex> lock(answer->mutex);
    answer->changed.wait_for(lock, patience, [&] { return answer->over; });
    return answer->value;
  }

  c10::intrusive_ptr<c10d::Store> store_;
  std::shared_ptr<std::atomic<bool>> waiting_ = std::make_shared<std::atomic<bool>>(false);
};

std::string key(const char* what, int64_t rank) { return std::string(what) + "/" + std::to_string(rank); }

std::string seconds_of(milliseconds time) { return std::to_string((time.count() + 999) / 1000) + " s"; }

std::string listed(const std::vector<int64_t>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < ranks.size(); i++) {
    if (i > 0) text += i + 1 == ranks.size() ? " and " : ", ";
    text += std::to_string(ranks[i]);
  }
  return text;
}

// --- where Gloo listens

bool is_this_machine(const std::string& host) { return host == "localhost" || host == "127.0.0.1" || host == "::1"; }

using Devices = std::vector<std::shared_ptr<::gloo::transport::Device>>;

// PyTorch's own variable; empty where it is not set.
std::vector<std::string> interfaces() {
  std::vector<std::string> names;
  const char* const value = std::getenv("GLOO_SOCKET_IFNAME");
  for (std::string rest = value == nullptr ? "" : value; !rest.empty();) {
    const size_t comma = rest.find(',');
    names.push_back(rest.substr(0, comma));
    rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
  }
  return names;
}

Devices devices(const std::string& host) {
  using Gloo = c10d::ProcessGroupGloo;
  std::vector<std::string> names = interfaces();
  Devices all;
  // A socket each way for DirectSum.
  if (names.empty()) {
    // Who meets at this machine's own address is on it, whatever its name resolves to.
    const bool here = is_this_machine(host);
    while (all.size() < 2) {
      all.push_back(here ? Gloo::createDeviceForHostname("127.0.0.1") : Gloo::createDefaultDevice());
    }
    return all;
  }
  if (names.size() == 1) names.push_back(names.front());
  try {
    for (const std::string& name : names) all.push_back(Gloo::createDeviceForInterface(name));
  } catch (const std::exception& error) {
    throw Error("INVALID_OPTION", "Expected names of network interfaces for GLOO_SOCKET_IFNAME but received " +
                                      std::string(std::getenv("GLOO_SOCKET_IFNAME")) + ": " + cause(error.what()));
  }
  return all;
}

// --- the group

class GlooGroup final : public ProcessGroup {
 public:
  // `reached` is set once the store has answered.
  GlooGroup(const GroupRequest& request, const Cancellation& stop, std::atomic<bool>& reached) : request_(request) {
    const auto deadline = Clock::now() + request.timeout;
    if (request.size > 1) {
      meet(deadline, stop, reached);
    } else {
      cards_ = {request.card};
    }
    back_ = Clock::now();
  }

  ~GlooGroup() override {
    GlooGroup::leave("it was stopped");
    // Its thread looks at what comes next.
    watcher_.reset();
    direct_.reset();
    if (!group_ || !under_way_) return;
    // Its destructor waits for that work.
    const auto group = std::make_shared<c10::intrusive_ptr<GuardedGroup>>(std::move(group_));
    try {
      std::thread([group, buffer = buffer_] { group->reset(); }).detach();
    } catch (const std::system_error&) {
      // No thread is to be had: then it is waited for here.
    }
  }

  int64_t rank() const override { return request_.rank; }
  int64_t size() const override { return request_.size; }
  const std::vector<std::string>& cards() const override { return cards_; }

  float* buffer(int64_t count) override {
    if (!buffer_.defined() || buffer_.numel() < count) buffer_ = at::zeros({count}, at::kFloat);
    auto* const memory = buffer_.data_ptr<float>();
    if (reinterpret_cast<uintptr_t>(memory) % kAlignment != 0) {
      throw Error("NATIVE_FAILURE", "Expected memory on a cache line from libtorch but received other");
    }
    return memory;
  }

  bool sum(int64_t count, const Cancellation& stop) override {
    if (request_.size == 1) return !cancelled(&stop);
    const at::Tensor memory = buffer_.narrow(0, 0, count);
    std::string why;
    bool done = false;
    note_absence();
    watcher_->begin(stop);
    try {
      if (!direct_) direct_ = std::make_unique<DirectSum>(group_, devices_, memory, request_.timeout);
      if (!direct_->is_of(memory))
        throw std::logic_error("sums of one length were announced, another one was asked for");
      sums_.store(direct_.get());
      done = direct_->carry_out();
    } catch (const std::exception& error) {
      why = cause(error.what());
    }
    const Watcher::Reason reason = watcher_->end();
    if (done) {
      back_ = Clock::now();
      return true;
    }
    if (reason == Watcher::Reason::stopped) return false;
    fail(why.empty() ? "a connection was lost" : why);
  }

  bool broadcast(void* bytes, int64_t count, const Cancellation& stop) override {
    if (request_.size == 1) return !cancelled(&stop);
    at::Tensor own = at::empty({count}, at::kByte);
    if (request_.rank == 0) std::memcpy(own.data_ptr(), bytes, static_cast<size_t>(count));
    std::vector<at::Tensor> tensors{own};
    if (!carried_out([&] { return group_->broadcast(tensors); }, stop)) return false;
    if (request_.rank != 0) std::memcpy(bytes, own.data_ptr(), static_cast<size_t>(count));
    return true;
  }

  void finish() override {
    if (!notices_ || told_.exchange(true)) return;
    settle();
    const int64_t rank = request_.rank, size = request_.size;
    notices_->ask<bool>(kPatience, [rank](c10d::Store& store) {
      store.set(key("done", rank), std::string("1"));
      return true;
    });
    const auto deadline = Clock::now() + kGoodbye;
    while (Clock::now() < deadline) {
      const auto all = notices_->ask<bool>(kPatience, [size](c10d::Store& store) {
        std::vector<std::string> keys;
        for (int64_t each = 0; each < size; each++) keys.push_back(key("done", each));
        return store.check(keys);
      });
      // A store that is gone went with a rank that has seen all others come to their end.
      if (!all || *all) return;
      std::this_thread::sleep_for(milliseconds(2));
    }
  }

  void leave(const char* reason) override {
    if (takes_leave()) say_why(reason);
  }

  bool takes_leave() override { return notices_ && !told_.exchange(true); }

  void say_why(const std::string& reason) override {
    const std::string text = std::to_string(request_.rank) + " " + reason;
    notices_->say(kPatience, [text, rank = request_.rank](c10d::Store& store) {
      store.compareSet("left", std::string(), text);
      store.set(key("heard", rank), std::string("1"));
    });
    stay({});
  }

 private:
  bool serves() const { return request_.serves && request_.rank == 0; }

  // This rank knows why it ends.
  void hear() {
    told_.store(true);
    notices_->say(kPatience,
                  [rank = request_.rank](c10d::Store& store) { store.set(key("heard", rank), std::string("1")); });
  }

  // Whoever keeps the store stays until all others that are there know why they end.
  void stay(const std::vector<int64_t>& absent) {
    if (!serves()) return;
    std::vector<int64_t> others;
    for (int64_t each = 1; each < request_.size; each++) {
      if (std::find(absent.begin(), absent.end(), each) == absent.end()) others.push_back(each);
    }
    const auto deadline = Clock::now() + kHearing;
    while (Clock::now() < deadline) {
      const auto all = notices_->ask<bool>(kPatience, [others](c10d::Store& store) {
        return std::all_of(others.begin(), others.end(), [&store](int64_t each) {
          return !store.check({key("member", each)}) || store.check({key("heard", each)}) ||
                 store.check({key("done", each)});
        });
      });
      if (all == true) return;
      std::this_thread::sleep_for(milliseconds(10));
    }
  }

  std::string whole() const { return "Expected " + std::to_string(request_.size) + " ranks "; }

  static milliseconds rest_of(Clock::time_point deadline) {
    return std::max(milliseconds(1), std::chrono::duration_cast<milliseconds>(deadline - Clock::now()));
  }

  void meet(Clock::time_point deadline, const Cancellation& stop, std::atomic<bool>& reached) {
    const std::string address = request_.host + ":" + std::to_string(request_.port);
    Meeting meeting;
    try {
      meeting = met(address, deadline);
    } catch (const std::exception& error) {
      throw Error("DISTRIBUTED_FAILED",
                  whole() + "to meet at " + address + " (MASTER_ADDR and MASTER_PORT) within " + seconds() + " but " +
                      (serves() ? "this rank cannot listen there: " : "nobody answers there: ") + cause(error.what()));
    }
    const std::string prefix = "lenet5/" + request_.attempt + "/" + std::to_string(meeting.groups);
    const auto store = c10::make_intrusive<c10d::PrefixStore>(prefix, meeting.store);
    try {
      notices_.emplace(c10::make_intrusive<c10d::PrefixStore>(prefix, connected(request_, false, rest_of(deadline))));
      reached.store(true);
      join_as_member(*store);
      const Devices own = devices(request_.host);
      exchange_cards(*store, deadline, stop);
      if (cancelled(&stop)) return leave("it was stopped");
      connect(store, own, deadline);
    } catch (const Error& error) {
      leave(error.what());
      throw;
    } catch (const std::exception& error) {
      forget(address);
      fail(cause(error.what()));
    }
  }

  // The store at an address, and which of this process's groups this is there.
  Meeting met(const std::string& address, Clock::time_point deadline) {
    {
      const std::lock_guard<std::mutex> lock(meetings_mutex);
      const auto found = meetings().find(address);
      if (found != meetings().end()) {
        found->second.groups++;
        return found->second;
      }
    }
    const Meeting fresh{connected(request_, serves(), rest_of(deadline)), 1};
    const std::lock_guard<std::mutex> lock(meetings_mutex);
    meetings()[address] = fresh;
    return fresh;
  }

  // A client's connection that broke is of no use to the next group. The one that serves stays.
  void forget(const std::string& address) const {
    if (serves()) return;
    const std::lock_guard<std::mutex> lock(meetings_mutex);
    meetings().erase(address);
  }

  void join_as_member(c10d::Store& store) {
    const int64_t rank = request_.rank;
    if (store.add(key("member", rank), 1) == 1) return;
    told_.store(true);
    throw Error("DISTRIBUTED_FAILED", "Expected one process for rank " + std::to_string(rank) +
                                          " but another one has joined as it: is RANK set in each process?");
  }

  void exchange_cards(c10d::Store& store, Clock::time_point deadline, const Cancellation& stop) {
    const int64_t rank = request_.rank;
    store.set(key("card", rank), request_.card);
    if (const auto missing = awaited(store, "card", deadline, stop); !missing.empty()) {
      throw Error("DISTRIBUTED_FAILED", whole() + "within " + seconds() + " but " + listed(missing) + " did not come");
    }
    // Who has handed in a card is looking here many times a second. To connect to one that died meanwhile would take
    // the whole time-out.
    store.set(key("ready", rank), std::string("1"));
    const auto soon = Clock::now() + std::min(kRollCall, request_.timeout);
    if (const auto missing = awaited(store, "ready", soon, stop); !missing.empty()) {
      throw Error("DISTRIBUTED_FAILED", whole() + "to train but " + silent(missing) + " (since they met)");
    }
    if (cancelled(&stop)) return;
    for (int64_t each = 0; each < request_.size; each++) cards_.push_back(store.get_to_str(key("card", each)));
  }

  // Waits until each rank has set its key; those that have not by then. None where `stop` was set.
  std::vector<int64_t> awaited(c10d::Store& store, const char* what, Clock::time_point deadline,
                               const Cancellation& stop) {
    std::vector<int64_t> missing;
    for (int64_t each = 0; each < request_.size;) {
      if (cancelled(&stop)) return {};
      if (store.check({key(what, each)})) {
        each++;
        continue;
      }
      if (store.check({std::string("left")})) fail_for(store.get_to_str("left"));
      if (Clock::now() >= deadline) {
        missing.push_back(each++);
        continue;
      }
      std::this_thread::sleep_for(milliseconds(10));
    }
    return missing;
  }

  void connect(const c10::intrusive_ptr<c10d::Store>& store, const Devices& own, Clock::time_point deadline) {
    const auto options =
        c10d::ProcessGroupGloo::Options::create(std::min(request_.timeout, std::max(kConnect, rest_of(deadline))));
    options->devices = own;
    devices_ = static_cast<int>(own.size());
    options->threads = kGlooThreads;
    const int rank = static_cast<int>(request_.rank), size = static_cast<int>(request_.size);
    const auto group = c10::make_intrusive<GuardedGroup>(store, rank, size, options);
    if (!group->is_as_declared(rank, size, kGlooThreads)) {
      // Whatever it is, its destructor is not to be trusted either.
      static_cast<void>(c10::intrusive_ptr<GuardedGroup>(group).release());
      throw Error("DISTRIBUTED_UNAVAILABLE",
                  "Expected c10d's ProcessGroupGloo as the addon was built for but libtorch has it otherwise");
    }
    group->setTimeout(request_.timeout);
    group_ = group;
    watcher_.emplace(
        kSlice, kSlicesPerPoll, [this] { return is_futile(); },
        [this] {
          if (DirectSum* const sums = sums_.load()) sums->abort();
        });
  }

  std::string seconds() const { return seconds_of(request_.timeout); }

  // How long a rank may be away between two collectives, for those who call the roll meanwhile.
  void note_absence() {
    longest_away_ = std::max(longest_away_, std::chrono::duration_cast<milliseconds>(Clock::now() - back_));
  }

  // The store is asked one thing at a time, and what is asked next has to be answered.
  void settle() {
    if (watcher_) watcher_->settle();
  }

  // Whether a connection is lost, or the store says that there is nothing to wait for.
  bool is_futile() {
    if (DirectSum* const sums = sums_.load(); sums != nullptr && sums->has_lost_connection()) return true;
    const Notice notice = read_notice();
    return !notice.left.empty() || !notice.roll.empty();
  }

  // Begins a collective and waits for it. False where `stop` was set first.
  template <typename Begin>
  bool carried_out(const Begin& begin, const Cancellation& stop) {
    struct End {
      std::mutex mutex;
      std::condition_variable changed;
      bool over = false;
    };
    const auto end = std::make_shared<End>();
    c10::intrusive_ptr<c10::ivalue::Future> future;
    try {
      // What is under way keeps its memory.
      const c10::intrusive_ptr<c10d::Work> work = begin();
      under_way_ = true;
      future = work->getFuture();
    } catch (const std::exception& error) {
      fail(cause(error.what()));
    }
    future->addCallback([end](c10::ivalue::Future&) {
      const std::lock_guard<std::mutex> lock(end->mutex);
      end->over = true;
      end->changed.notify_all();
    });
    note_absence();
    std::unique_lock<std::mutex> lock(end->mutex);
    for (int slice = 1; !end->changed.wait_for(lock, kSlice, [&] { return end->over; }); slice++) {
      if (cancelled(&stop)) return false;
      if (slice % kSlicesPerPoll != 0) continue;
      lock.unlock();
      const Notice notice = read_notice();
      if (!notice.left.empty()) fail_for(notice.left);
      if (!notice.roll.empty()) fail(notice.roll);
      lock.lock();
    }
    lock.unlock();
    under_way_ = false;
    back_ = Clock::now();
    if (!future->hasError()) return true;
    std::string why = "an unknown error";
    try {
      std::rethrow_exception(future->exception_ptr());
    } catch (const std::exception& error) {
      why = cause(error.what());
    } catch (...) {
      // As it is.
    }
    fail(why);
  }

  // What the store says to those who wait; nothing where it does not answer.
  struct Notice {
    std::string left;  // "rank reason" of the first that left
    std::string roll;  // why the roll is being called
  };
  Notice read_notice() {
    return notices_
        ->ask<Notice>(kPatience,
                      [](c10d::Store& store) {
                        Notice notice;
                        if (store.check({std::string("left")})) notice.left = store.get_to_str("left");
                        if (store.check({std::string("roll")})) notice.roll = store.get_to_str("roll");
                        return notice;
                      })
        .value_or(Notice{});
  }

  [[noreturn]] void fail_for(const std::string& notice) {
    hear();
    stay({});
    const size_t space = notice.find(' ');
    throw Error("DISTRIBUTED_FAILED", whole() + "to the end of the training but rank " + notice.substr(0, space) +
                                          " left it: " + (space == std::string::npos ? "" : notice.substr(space + 1)));
  }

  static std::string silent(const std::vector<int64_t>& ranks) {
    return listed(ranks) + (ranks.size() == 1 ? " no longer answers" : " no longer answer");
  }

  // Finds out who is missing, and throws.
  [[noreturn]] void fail(const std::string& why) {
    struct Roll {
      std::string why;  // of the first that called it
      std::vector<int64_t> missing;
    };
    settle();
    const int64_t rank = request_.rank, size = request_.size;
    const auto deadline = Clock::now() + std::min(std::max(kRollCall, 2 * longest_away_), request_.timeout);
    // Once known it stays: the rank that keeps the store may be the first to go.
    std::optional<Roll> roll;
    do {
      if (const Notice notice = read_notice(); !notice.left.empty()) fail_for(notice.left);
      auto answer = notices_->ask<Roll>(kPatience, [rank, size, why](c10d::Store& store) {
        Roll called{store.compareSet("roll", std::string(), why), {}};
        store.set(key("here", rank), std::string("1"));
        for (int64_t each = 0; each < size; each++) {
          if (!store.check({key("here", each)})) called.missing.push_back(each);
        }
        return called;
      });
      if (!answer) break;
      roll = std::move(answer);
      if (roll->missing.empty()) break;
      std::this_thread::sleep_for(kSlice);
    } while (Clock::now() < deadline);
    std::string found;
    if (!roll) {
      found = request_.serves ? "rank 0, at " + request_.host + ", no longer answers"
                              : "the store at " + request_.host + " no longer answers";
    } else if (!roll->missing.empty()) {
      found = silent(roll->missing);
    } else if (roll->why.find("imed out") != std::string::npos) {
      found = "one of them, though all are there, was busy for longer than the time-out of " + seconds();
    } else {
      found = "the connection between them failed";
    }
    hear();
    if (roll) stay(roll->missing);
    throw Error("DISTRIBUTED_FAILED",
                whole() + "to the end of the training but " + found + " (" + (roll ? roll->why : why) + ")");
  }

  const OneGroup one_;
  const GroupRequest request_;
  std::vector<std::string> cards_;
  std::optional<Notices> notices_;
  c10::intrusive_ptr<GuardedGroup> group_;
  at::Tensor buffer_;
  int devices_ = 0;
  bool under_way_ = false;
  Clock::time_point back_ = Clock::now();
  milliseconds longest_away_{0};
  // Whether the others know of this rank's end.
  std::atomic<bool> told_{false};
  std::unique_ptr<DirectSum> direct_;
  std::atomic<DirectSum*> sums_{nullptr};
  // The last one, as its thread uses all others.
  std::optional<Watcher> watcher_;
};

}  // namespace

struct Joining::State {
  explicit State(GroupRequest asked) : request(std::move(asked)) {}

  const GroupRequest request;
  const Clock::time_point deadline = Clock::now() + request.timeout;
  std::mutex mutex;
  std::condition_variable changed;
  bool over = false;
  std::shared_ptr<ProcessGroup> group;
  std::optional<Error> error;
  Cancellation stop{false};
  std::atomic<bool> reached{false};
};

Joining::Joining(const GroupRequest& request) : state_(std::make_shared<State>(request)) {
  std::thread([state = state_] {
    std::shared_ptr<ProcessGroup> group;
    std::optional<Error> error;
    try {
      group = std::make_shared<GlooGroup>(state->request, state->stop, state->reached);
    } catch (...) {
      error = current_error("DISTRIBUTED_FAILED");
    }
    const std::lock_guard<std::mutex> lock(state->mutex);
    if (!state->stop.load()) state->group = std::move(group);
    state->error = std::move(error);
    state->over = true;
    state->changed.notify_all();
  }).detach();
}

Joining::~Joining() { stop(); }

void Joining::stop() { state_->stop.store(true); }

std::shared_ptr<ProcessGroup> Joining::wait_for(milliseconds patience) {
  State& state = *state_;
  const auto end = Clock::now() + patience;
  const auto over = [&state] { return state.over; };
  std::unique_lock<std::mutex> lock(state.mutex);
  while (!state.changed.wait_for(lock, std::min(kSlice, patience), over)) {
    const bool reached = state.reached.load();
    // Libtorch keeps its own time-outs; this one is for what knows none: a name that is looked up, something that
    // listens and says nothing.
    const bool late = Clock::now() >= state.deadline + (reached ? kMeeting : kPatience);
    if (late || state.stop.load()) {
      const bool stopped = state.stop.exchange(true);
      // The others are to hear of it before the process ends.
      if (reached) state.changed.wait_for(lock, kPatience + kHearing, over);
      if (stopped) break;
      const GroupRequest& request = state.request;
      throw Error("DISTRIBUTED_FAILED",
                  "Expected " + std::to_string(request.size) + " ranks to meet at " + request.host + ":" +
                      std::to_string(request.port) + " (MASTER_ADDR and MASTER_PORT) within " +
                      seconds_of(request.timeout) + " but " +
                      (reached ? "the connections between them did not come about" : "nothing that answers is there"));
    }
    if (Clock::now() >= end) return nullptr;
  }
  if (state.stop.load()) {
    const auto given_up = std::move(state.group);
    lock.unlock();
    throw Error("ABORTED", "The call was aborted");
  }
  if (state.error) throw Error(*state.error);
  return std::exchange(state.group, nullptr);
}

}  // namespace lenet5

#else

namespace lenet5 {

struct Joining::State {};

Joining::Joining(const GroupRequest&) {
  throw Error(
      "DISTRIBUTED_UNAVAILABLE",
      "Expected a libtorch of 2.10 or later with c10d and Gloo for distributed but the addon was built for another");
}
Joining::~Joining() = default;
void Joining::stop() {}
std::shared_ptr<ProcessGroup> Joining::wait_for(std::chrono::milliseconds) { return nullptr; }

}  // namespace lenet5

#endif
