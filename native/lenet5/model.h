// A LeNet-5 as a whole: its weights, and whoever answers for them. Any number of threads may predict while one trains.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "cancellation.h"
#include "engines.h"
#include "trainer.h"

namespace lenet5 {

// A model's weights at one moment. Immutable: whoever holds them has what a later training or dispose() cannot change.
struct Weights {
  int64_t num_classes;
  Normalization normalization;
  std::vector<float> parameters;
  std::shared_ptr<const Predictor> predictor;
};
using WeightsPointer = std::shared_ptr<const Weights>;

// Answers for images, some thousands at a time. False where it was cancelled. Throws INVALID_PIXELS for float pixels
// that are not finite; what was written then is of no use.
bool predict(const Weights& weights, const Images& images, const Answers& answers,
             const Cancellation* cancellation = nullptr);

class Model {
 public:
  // Throws MODEL_MISMATCH for another number of parameters, and what make_engine throws.
  Model(const EngineRequest& request, const Normalization& normalization, std::vector<float> parameters);

  int64_t num_classes() const { return num_classes_; }
  const Engine& engine() const { return *engine_; }
  WeightsPointer weights() const;
  // Throws MODEL_MISMATCH.
  void set_parameters(std::vector<float> parameters);
  void set_normalization(const Normalization& normalization);

  // One training at a time: a run holds this from its start to its end. Throws MODEL_BUSY.
  class Busy;
  std::shared_ptr<Busy> begin_training();

  // Trains from `start`, or from the model's own weights where `start` holds none; the weights of each whole epoch (and
  // those at a stop) become the model's. `ranks` as in `train`.
  TrainResult fit(const TrainOptions& options, const TrainingData& data, TrainingState start, const Cancellation& stop,
                  const TrainObserver& observer, Collective* ranks = nullptr);

 private:
  void replace(const Normalization* normalization, std::vector<float>* parameters);

  int64_t num_classes_;
  std::unique_ptr<const Engine> engine_;
  // Taken by whoever makes new weights out of the old, for as long as that takes; the other only to swap the pointer.
  std::mutex writing_;
  mutable std::mutex mutex_;
  WeightsPointer weights_;
  std::shared_ptr<std::atomic<bool>> training_ = std::make_shared<std::atomic<bool>>(false);
};

class Model::Busy {
 public:
  explicit Busy(std::shared_ptr<std::atomic<bool>> training) : training_(std::move(training)) {}
  ~Busy() { training_->store(false); }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;

 private:
  std::shared_ptr<std::atomic<bool>> training_;
};

}  // namespace lenet5
