// A training run: epochs over shuffled batches, the learning rate's schedule, evaluation, progress, and what a
// checkpoint holds. Works the same with either engine.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "training_engine.h"

namespace lenet5 {

enum class Schedule { constant, one_cycle };

struct TrainOptions {
  int64_t epochs = 1;
  int64_t batch_size = 64;
  AdamOptions adam{0.01, 0.9, 0.999, 1e-8, 0};
  Schedule schedule = Schedule::constant;
  uint64_t seed = 0;
  double progress_seconds = 0.1;
  bool snapshots = false;
};

// Where a run stands between two epochs: enough to go on as if it had never stopped.
struct TrainingState {
  OptimizerState optimizer;
  int64_t epoch = 0;               // whole epochs done
  std::vector<uint8_t> generator;  // state of the shuffling generator
};

struct Progress {
  int64_t epoch, step, steps;
  double loss, images_per_second;
};

struct EpochResult {
  int64_t epoch;
  double loss, accuracy, seconds, images_per_second, learning_rate;
  std::optional<std::pair<double, double>> validation;  // loss, accuracy
  std::shared_ptr<TrainingState> state;                 // with TrainOptions::snapshots
};

struct TrainObserver {
  std::function<void(const Progress&)> progress;
  std::function<void(const EpochResult&)> epoch;
  // Called with the weights at the end of each epoch, and when the run stops early.
  std::function<void(const std::vector<float>& parameters)> weights;
};

// The learning rate of a step (from 0) of a run of `total` steps. one_cycle: Smith and Topin 2018 with the defaults of
// torch.optim.lr_scheduler.OneCycleLR (pct_start 0.3, cosine, div_factor 25, final_div_factor 1e4).
double learning_rate(Schedule schedule, double peak, int64_t step, int64_t total);

// Runs until done or until `stop` is set, which ends it within one batch.
void train(const Placement& placement, const Normalization& normalization, const TrainOptions& options,
           const ImageSet& data, const ImageSet* validation, const TrainingState& start, const std::atomic<bool>& stop,
           const TrainObserver& observer);

}  // namespace lenet5
