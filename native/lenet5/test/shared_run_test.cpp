// Ranks that train together, here as threads with memory in common instead of processes with a network: they have to
// learn what one rank alone learns, tell the same, and end in the same weights, whatever their number.
#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "../../kernels/lenet5_kernels.h"
#include "../error.h"
#include "../model.h"
#include "../parameters.h"

namespace {

using namespace lenet5;

int failures = 0;

void check(bool ok, const std::string& what) {
  if (!ok) ++failures;
  std::printf("%s %s\n", ok ? "ok  " : "FAIL", what.c_str());
}

// What the ranks have in common. Each waits for all others, so that nobody is a call ahead.
class Table {
 public:
  explicit Table(int64_t size) : size(size), buffers(static_cast<size_t>(size)) {}

  // Runs `last` once, when all have come. False where one has left.
  template <typename Last>
  bool meet(Last&& last) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (left) return false;
    const int64_t round = round_;
    if (++waiting_ == size) {
      last();
      waiting_ = 0;
      ++round_;
      changed_.notify_all();
      return true;
    }
    changed_.wait(lock, [&] { return round_ != round || left; });
    return round_ != round;
  }
  void leave() {
    const std::lock_guard<std::mutex> lock(mutex_);
    left = true;
    changed_.notify_all();
  }

  const int64_t size;
  std::vector<std::vector<float>> buffers;
  std::vector<unsigned char> message;
  bool left = false;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t waiting_ = 0, round_ = 0;
};

class Thread : public Collective {
 public:
  Thread(Table& table, int64_t rank) : table_(table), rank_(rank) {}
  int64_t rank() const override { return rank_; }
  int64_t size() const override { return table_.size; }
  float* buffer(int64_t count) override {
    auto& own = table_.buffers[static_cast<size_t>(rank_)];
    if (own.size() < static_cast<size_t>(count)) own.assign(static_cast<size_t>(count), 0.0f);
    return own.data();
  }
  bool sum(int64_t count, const Cancellation&) override {
    calls++;
    return met([&] {
      for (int64_t i = 0; i < count; i++) {
        float sum = 0;
        for (const auto& each : table_.buffers) sum += each[static_cast<size_t>(i)];
        for (auto& each : table_.buffers) each[static_cast<size_t>(i)] = sum;
      }
    });
  }
  bool broadcast(void* bytes, int64_t count, const Cancellation&) override {
    if (rank_ == 0)
      table_.message.assign(static_cast<unsigned char*>(bytes), static_cast<unsigned char*>(bytes) + count);
    const bool all = met([] {});
    if (all) std::memcpy(bytes, table_.message.data(), static_cast<size_t>(count));
    return all && met([] {});
  }
  void finish() override {}
  void leave(const char*) override { table_.leave(); }

  int64_t calls = 0;

 private:
  template <typename Last>
  bool met(Last&& last) {
    if (table_.meet(last)) return true;
    throw Error("DISTRIBUTED_FAILED", "another rank left");
  }

  Table& table_;
  int64_t rank_;
};

ImageSet drawn_set(int64_t count, uint32_t state) {
  ImageSet set;
  for (int64_t i = 0; i < count; ++i) {
    set.labels.push_back(static_cast<int32_t>(i % 10));
    for (int64_t pixel = 0; pixel < kImageSize * kImageSize; ++pixel) {
      state = state * 1664525u + 1013904223u;
      // A bar that says the class, under noise.
      const bool bar = pixel / kImageSize / 2 == i % 10 + 1;
      set.images.push_back(static_cast<uint8_t>((bar ? 150 : 0) + (state >> 26)));
    }
  }
  return set;
}

const TrainingData& data() {
  // 203 images in batches of 32: the last one has 11, and a rank of 16 has none of it.
  static const TrainingData sets{drawn_set(203, 1), drawn_set(60, 2)};
  return sets;
}

struct Course {
  std::vector<double> losses, accuracies, validation;
  std::vector<float> parameters;
  std::vector<std::shared_ptr<TrainingState>> states;
  TrainResult result;
  std::string error = "none";
  int64_t sums = 0;
};

Course trained(const TrainOptions& options, uint64_t seed, const TrainingState& start, Collective* ranks,
               const Cancellation& stop = Cancellation{false}) {
  Course course;
  TrainObserver observer;
  observer.weights = [](const std::vector<float>&) {};
  observer.progress = [&](const Progress& progress) { course.losses.push_back(progress.loss); };
  observer.epoch = [&](const EpochResult& epoch) {
    course.accuracies.push_back(epoch.accuracy);
    if (epoch.validation) course.validation.push_back(epoch.validation->loss + epoch.validation->accuracy());
    course.states.push_back(epoch.state);
  };
  Model model(EngineRequest{}, Normalization{}, initial_parameters(10, seed));
  try {
    course.result = model.fit(options, data(), start, stop, observer, ranks);
  } catch (const Error& error) {
    course.error = error.code();
    if (ranks != nullptr) ranks->leave("");
  }
  course.parameters = model.weights()->parameters;
  return course;
}

std::vector<Course> trained_by(int64_t size, const TrainOptions& options, const TrainingState& start) {
  Table table(size);
  std::vector<Course> courses(static_cast<size_t>(size));
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      Thread ranks(table, rank);
      // Weights of their own, which the first rank's take the place of.
      courses[static_cast<size_t>(rank)] =
          trained(options, 7 + static_cast<uint64_t>(rank), rank == 0 ? start : TrainingState{}, &ranks);
      courses[static_cast<size_t>(rank)].sums = ranks.calls;
    });
  }
  for (auto& thread : threads) thread.join();
  return courses;
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return 1e9;
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

TrainOptions options() {
  TrainOptions chosen;
  chosen.epochs = 3;
  chosen.batch_size = 32;
  chosen.adam.learning_rate = 0.002;
  chosen.schedule = Schedule::one_cycle;
  chosen.progress_seconds = 0;
  chosen.snapshots = true;
  return chosen;
}

void same_course(const char* what, const TrainOptions& chosen) {
  const Course alone = trained(chosen, 7, {}, nullptr);
  for (const int64_t size : {1, 2, 3, 16}) {
    const auto courses = trained_by(size, chosen, {});
    const std::string name = std::string(what) + ", " + std::to_string(size) + " ranks";
    const Course& first = courses[0];
    check(first.losses.size() == alone.losses.size() && largest_difference(first.losses, alone.losses) < 1e-5,
          name + ": the losses of one alone");
    check(first.accuracies == alone.accuracies, name + ": the accuracies");
    check(largest_difference(first.validation, alone.validation) < 1e-4, name + ": the validation");
    bool alike = true, snapshots = first.states[0] != nullptr;
    for (const Course& course : courses) {
      alike = alike && course.error == "none" && course.parameters == first.parameters &&
              course.losses == first.losses && course.validation == first.validation &&
              course.result.best_epoch == alone.result.best_epoch &&
              course.result.stopped_early == alone.result.stopped_early;
      if (&course != &first) snapshots = snapshots && course.states[0] == nullptr;
    }
    check(alike, name + ": all ranks end alike and were told alike");
    check(snapshots, name + ": the first rank alone makes snapshots");
  }
}

void goes_on_with_others() {
  const TrainOptions chosen = options();
  const Course alone = trained(chosen, 7, {}, nullptr);
  const auto two = trained_by(2, chosen, {});
  const auto three = trained_by(3, chosen, *two[0].states[0]);
  std::vector<double> losses = two[0].losses;
  losses.resize(losses.size() / 3);
  losses.insert(losses.end(), three[0].losses.begin(), three[0].losses.end());
  check(largest_difference(losses, alone.losses) < 1e-5, "a run of two ranks goes on with three");
  check(three[2].parameters == three[0].parameters, "and the new ones have its weights");
}

void accumulates() {
  TrainOptions chosen = options(), large = options();
  chosen.accumulated = 3;
  large.batch_size *= 3;
  const auto courses = trained_by(2, chosen, {});
  const Course alone = trained(large, 7, {}, nullptr);
  check(largest_difference(courses[0].losses, alone.losses) < 1e-5, "three batches make one step");
  check(courses[0].sums == 9, "with one sum for each");
}

void leaves() {
  Table table(2);
  Cancellation stop{false};
  Course first, second;
  std::thread other([&] {
    Thread ranks(table, 1);
    second = trained(options(), 7, {}, &ranks);
  });
  {
    Thread ranks(table, 0);
    TrainOptions chosen = options();
    stop = true;
    first = trained(chosen, 7, {}, &ranks, stop);
    if (first.result.stopped) ranks.leave("");
  }
  other.join();
  check(first.result.stopped, "a rank that is stopped ends");
  check(second.error == "DISTRIBUTED_FAILED", "and the others hear of it");
}

}  // namespace

int main() {
  kernels::set_num_threads(1);
  same_course("plain", options());
  TrainOptions everything = options();
  everything.augmentation = Augmentation{2, 10, 0.1, 5, 8, 4};
  everything.class_weights = {1, 2, 0.5, 1, 0, 3, 1, 1, 1, 0.25};
  everything.early_stopping = EarlyStoppingOptions{};
  everything.early_stopping->patience = 10;
  same_course("with everything", everything);
  TrainOptions early = options();
  early.early_stopping = EarlyStoppingOptions{};
  early.early_stopping->min_delta = 1e9;  // nothing is better than the first epoch
  check(trained(early, 7, {}, nullptr).result.stopped_early, "a run stops early");
  same_course("stopped early", early);
  goes_on_with_others();
  accumulates();
  leaves();
  return failures == 0 ? 0 : 1;
}
