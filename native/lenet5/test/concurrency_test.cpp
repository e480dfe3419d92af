// A training among threads that predict, take the weights and resize the pool meanwhile. It has to end in the weights
// of a training that had the machine to itself, bit for bit, and a stop has to end it; ThreadSanitizer looks on where
// it is the build's (scripts/sanitizers.mjs).
#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

#include "../../kernels/lenet5_kernels.h"
#include "../model.h"
#include "../parameters.h"

namespace {

using namespace lenet5;

int failures = 0;

void check(bool ok, const char* what) {
  if (!ok) ++failures;
  std::printf("%s %s\n", ok ? "ok  " : "FAIL", what);
}

ImageSet drawn_set(int64_t count, uint32_t state) {
  ImageSet set;
  for (int64_t i = 0; i < count * kImageSize * kImageSize; ++i) {
    state = state * 1664525u + 1013904223u;
    set.images.push_back(static_cast<uint8_t>(state >> 24));
  }
  for (int64_t i = 0; i < count; ++i) set.labels.push_back(static_cast<int32_t>(i % 10));
  return set;
}

const TrainingData& data() {
  static const TrainingData sets{drawn_set(400, 1), drawn_set(100, 2)};
  return sets;
}

Model fresh_model() { return Model(EngineRequest{}, Normalization{}, initial_parameters(10, 7)); }

TrainOptions options() {
  TrainOptions chosen;
  chosen.epochs = 4;
  chosen.batch_size = 32;
  chosen.progress_seconds = 0;
  chosen.snapshots = true;
  chosen.augmentation = Augmentation{2, 10, 0.1, 5, 8, 4};
  chosen.class_weights.assign(10, 1.5f);
  chosen.early_stopping = EarlyStoppingOptions{};
  chosen.early_stopping->patience = 10;
  return chosen;
}

TrainObserver nobody() {
  return {[](const Progress&) {}, [](const EpochResult&) {}, [](const std::vector<float>&) {}};
}

// Runs `body` while two threads predict and a third takes the weights and, if told so, resizes the pool.
template <typename Body>
void in_company(const Model& model, bool resize, Body&& body) {
  std::atomic<bool> done{false}, all_finite{true};
  std::vector<std::thread> company;
  for (int i = 0; i < 2; ++i) {
    company.emplace_back([&] {
      std::vector<float> answers(100 * 10);
      while (!done) {
        predict(*model.weights(), data().validation->view(), {answers.data(), nullptr, true});
        for (const float answer : answers) {
          if (!(answer <= 0)) all_finite = false;
        }
      }
    });
  }
  company.emplace_back([&] {
    for (int threads = 1; !done; threads = threads % 4 + 1) {
      if (model.weights()->parameters.size() != static_cast<size_t>(parameter_length(10))) all_finite = false;
      if (resize) kernels::set_num_threads(threads);
      std::this_thread::sleep_for(std::chrono::milliseconds(3));
    }
  });
  body();
  done = true;
  for (auto& thread : company) thread.join();
  check(all_finite, "predictions during a training are log-probabilities");
}

void same_weights_in_company() {
  const Cancellation never{false};
  Model alone = fresh_model(), among = fresh_model();
  alone.fit(options(), data(), TrainingState{}, never, nobody());
  int64_t steps = 0, epochs = 0;
  TrainObserver observer = nobody();
  observer.progress = [&](const Progress&) { ++steps; };
  observer.epoch = [&](const EpochResult& result) { epochs += result.state != nullptr; };
  in_company(among, false, [&] { among.fit(options(), data(), TrainingState{}, never, observer); });
  check(among.weights()->parameters == alone.weights()->parameters, "a training in company ends in the same weights");
  check(steps > 0 && epochs == 4, "it tells of its steps and epochs");
}

void stop_from_another_thread() {
  Model model = fresh_model();
  Cancellation stop{false};
  std::atomic<bool> begun{false};
  TrainOptions endless = options();
  endless.epochs = 1000000;
  endless.early_stopping.reset();
  TrainObserver observer = nobody();
  observer.progress = [&](const Progress&) { begun = true; };
  TrainResult result;
  in_company(model, true, [&] {
    std::thread training([&] { result = model.fit(endless, data(), TrainingState{}, stop, observer); });
    while (!begun) std::this_thread::yield();
    stop = true;
    training.join();
  });
  check(result.stopped, "a stop from another thread ends a training");
}

}  // namespace

int main() {
  kernels::set_num_threads(2);
  same_weights_in_company();
  stop_from_another_thread();
  return failures == 0 ? 0 : 1;
}
