#include "trainer.h"

#include <chrono>
#include <string>
#include <utility>

#include "error.h"
#include "parameters.h"
#include "shared_run.h"

namespace lenet5 {

namespace {

using Clock = std::chrono::steady_clock;

// Images of a pass over the validation set; a stop waits for one of them at the most.
constexpr int64_t kValidationBatch = 1000;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void check_length(const char* part, size_t length, int64_t expected) {
  if (length == static_cast<size_t>(expected)) return;
  throw Error("CHECKPOINT_CORRUPT", "Expected " + std::to_string(expected) + " numbers for the checkpoint's " + part +
                                        " but received " + std::to_string(length));
}

}  // namespace

void check_state(const TrainingState& state, int64_t num_classes) {
  const int64_t length = parameter_length(num_classes);
  check_length("parameters", state.optimizer.parameters.size(), length);
  check_length("first moment", state.optimizer.exp_avg.size(), length);
  check_length("second moment", state.optimizer.exp_avg_sq.size(), length);
  if (state.early_stop && state.early_stop->best_epoch > 0) {
    check_length("best parameters", state.early_stop->parameters.size(), length);
  }
  Generator(0).set_state(state.generator);
  if (state.optimizer.step < 0 || state.epoch < 0) {
    throw Error("CHECKPOINT_CORRUPT", "Expected whole numbers of at least 0 for the checkpoint's step and epoch");
  }
}

TrainResult train(const Engine& engine, int64_t num_classes, const Normalization& normalization,
                  const TrainOptions& options, const TrainingData& data, TrainingState start, const Cancellation& stop,
                  const TrainObserver& observer, Collective* ranks) {
  SharedRun run(ranks, stop);
  if (!run.begin(start, num_classes)) return {true, false, 0};
  const auto training = engine.training(normalization, start.optimizer, options.class_weights);
  // The gradient of some batches is that of one as large as they are together.
  Batches batches(data.train, options.batch_size * options.accumulated, options.seed, start.generator,
                  options.augmentation, options.class_weights, run.share());
  std::optional<EarlyStopping> early;
  if (options.early_stopping) {
    early.emplace(*options.early_stopping, start.early_stop.value_or(EarlyStoppingRecord{}));
  }
  const auto count = static_cast<double>(data.train.count());
  const int64_t steps = batches.steps();
  const int64_t total = steps * options.epochs;

  for (int64_t epoch = start.epoch; epoch < options.epochs && !(early && early->over()); epoch++) {
    batches.begin_epoch(epoch);
    // Distorted images are no images of the set, and a rank's share is not the order's.
    if (!options.augmentation && run.share().size == 1) training->begin_epoch(data.train, batches.order());
    const auto begin = Clock::now();
    auto told = begin;
    double loss_sum = 0, weight_sum = 0;
    int64_t correct = 0, done = 0;
    run.begin_epoch();
    AdamOptions adam = options.adam;
    const auto count_in = [&](const StepResult& result) {
      loss_sum += result.loss * result.weight;
      weight_sum += result.weight;
      correct += result.correct;
    };
    for (int64_t step = 0; step < steps; step++) {
      adam.learning_rate = learning_rate(options.schedule, options.adam.learning_rate, epoch * steps + step, total);
      const Batch batch = batches.at(step);
      std::optional<StepResult> result;
      if (!cancelled(&stop)) result = run.step(*training, batch, adam);
      if (!result) {
        observer.weights(training->state().parameters);
        return {true, false, 0};
      }
      done += batch.whole_count;
      count_in(*result);
      if (seconds_since(told) >= options.progress_seconds) {
        // Of an engine that tells later it is the mean since it was asked last.
        const StepResult late = training->settle();
        count_in(late);
        told = Clock::now();
        const double loss = late.weight > 0 ? late.loss : result->loss;
        observer.progress({epoch + 1, step + 1, steps, loss, static_cast<double>(done) / seconds_since(begin)});
      }
    }
    count_in(training->settle());
    const double seconds = seconds_since(begin);
    OptimizerState state = training->state();
    observer.weights(state.parameters);
    EpochResult result{epoch + 1,
                       weight_sum > 0 ? loss_sum / weight_sum : 0,
                       static_cast<double>(correct) / count,
                       seconds,
                       count / seconds,
                       adam.learning_rate,
                       std::nullopt,
                       nullptr,
                       run.communication_seconds()};
    if (data.validation && run.first()) {
      const auto predictor = engine.predictor(normalization, state.parameters);
      result.validation = evaluate(*predictor, num_classes, *data.validation, kValidationBatch, &stop);
      if (!result.validation) return {true, false, 0};
    }
    if (!run.end_epoch(state.parameters, result.validation, num_classes, data.validation.has_value())) {
      return {true, false, 0};
    }
    if (early) early->note(epoch + 1, result.validation->loss, result.validation->accuracy(), state.parameters);
    if (options.snapshots && run.first()) {
      result.state = std::make_shared<TrainingState>(
          TrainingState{std::move(state), epoch + 1, batches.generator(), std::nullopt});
      if (early) result.state->early_stop = early->record();
    }
    observer.epoch(result);
  }
  if (!early) return {};
  const EarlyStoppingRecord& best = early->record();
  // Where no epoch had a finite value there are no best weights, and the run has ended for want of one all the same.
  if (best.best_epoch > 0) observer.weights(best.parameters);
  return {false, early->over(), best.best_epoch};
}

}  // namespace lenet5
