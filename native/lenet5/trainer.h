// A training run: epochs over shuffled batches, the learning rate's schedule, evaluation, early stopping, progress, and
// what a checkpoint holds. Works the same with either engine.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "batches.h"
#include "cancellation.h"
#include "collective.h"
#include "early_stopping.h"
#include "engine.h"
#include "evaluation.h"
#include "schedule.h"

namespace lenet5 {

struct TrainOptions {
  int64_t epochs = 1;
  int64_t batch_size = 64;  // of all ranks together
  int64_t accumulated = 1;  // batches whose gradients make one step
  AdamOptions adam{0.01, 0.9, 0.999, 1e-8, 0};
  Schedule schedule = Schedule::constant;
  uint64_t seed = 0;
  double progress_seconds = 0.1;
  bool snapshots = false;
  std::optional<Augmentation> augmentation;
  std::vector<float> class_weights;  // one a class, or none
  std::optional<EarlyStoppingOptions> early_stopping;
};

// The data, checked (check_set).
struct TrainingData {
  ImageSet train;
  std::optional<ImageSet> validation;
};

// Where a run stands between two epochs: enough to go on as if it had never stopped.
struct TrainingState {
  OptimizerState optimizer;
  int64_t epoch = 0;                              // whole epochs done
  std::vector<uint8_t> generator;                 // state of the shuffling generator
  std::optional<EarlyStoppingRecord> early_stop;  // with TrainOptions::early_stopping
};

// Throws CHECKPOINT_CORRUPT where a state's parts do not fit each other or the model.
void check_state(const TrainingState& state, int64_t num_classes);

struct Progress {
  int64_t epoch, step, steps;
  double loss, images_per_second;
};

struct EpochResult {
  int64_t epoch;
  double loss, accuracy, seconds, images_per_second, learning_rate;
  std::optional<Evaluation> validation;
  std::shared_ptr<TrainingState> state;  // with TrainOptions::snapshots
  // Of `seconds`, those in which the gradients were summed; with other ranks.
  std::optional<double> communication_seconds;
};

struct TrainObserver {
  std::function<void(const Progress&)> progress;
  std::function<void(const EpochResult&)> epoch;
  // Called with the weights at the end of each epoch, when the run is stopped, and with the best ones at its end.
  std::function<void(const std::vector<float>& parameters)> weights;
};

struct TrainResult {
  bool stopped = false;        // by `stop`, before its end
  bool stopped_early = false;  // by TrainOptions::early_stopping
  int64_t best_epoch = 0;      // whose weights the model has now; 0 without early stopping, or when it was stopped
};

// Runs until done or until `stop` is set, which ends it within one batch, of the validation too, and leaves the weights
// of that moment, with early stopping too: the best ones are those of a run that came to its end. An epoch whose
// validation was cut off has not ended: nobody is told of it, and a resumed run does it again.
//
// `ranks`: those that train together, or null. All have the same options and data, rank 0 has the start and hands it
// on; all end with the same weights and are told the same figures, and rank 0 alone evaluates and makes snapshots.
TrainResult train(const Engine& engine, int64_t num_classes, const Normalization& normalization,
                  const TrainOptions& options, const TrainingData& data, TrainingState start, const Cancellation& stop,
                  const TrainObserver& observer, Collective* ranks = nullptr);

}  // namespace lenet5
