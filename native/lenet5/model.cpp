#include "model.h"

#include <algorithm>
#include <string>
#include <utility>

#include "error.h"
#include "parameters.h"

namespace lenet5 {

namespace {

constexpr int64_t kPredictionBatch = 4096;

}  // namespace

bool predict(const Weights& weights, const Images& images, const Answers& answers, const Cancellation* cancellation) {
  for (int64_t start = 0; start < images.count; start += kPredictionBatch) {
    if (cancelled(cancellation)) return false;
    const int64_t count = std::min(kPredictionBatch, images.count - start);
    weights.predictor->run(part_of(images, start, count),
                           {answers.scores + start * weights.num_classes,
                            answers.labels == nullptr ? nullptr : answers.labels + start, answers.log});
  }
  return true;
}

Model::Model(const EngineRequest& request, const Normalization& normalization, std::vector<float> parameters)
    : num_classes_(request.num_classes), engine_(make_engine(request)) {
  replace(&normalization, &parameters);
}

WeightsPointer Model::weights() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return weights_;
}

// Null keeps what is there.
void Model::replace(const Normalization* normalization, std::vector<float>* parameters) {
  if (normalization != nullptr) check_normalization(*normalization);
  const int64_t length = parameter_length(num_classes_);
  if (parameters != nullptr && static_cast<int64_t>(parameters->size()) != length) {
    throw Error("MODEL_MISMATCH", "Expected " + std::to_string(length) + " parameters for the model but received " +
                                      std::to_string(parameters->size()));
  }
  std::lock_guard<std::mutex> writing(writing_);
  const WeightsPointer now = weights();
  auto next = std::make_shared<Weights>();
  next->num_classes = num_classes_;
  next->normalization = normalization != nullptr ? *normalization : now->normalization;
  next->parameters = parameters != nullptr ? std::move(*parameters) : now->parameters;
  next->predictor = engine_->predictor(next->normalization, next->parameters);
  std::lock_guard<std::mutex> lock(mutex_);
  weights_ = std::move(next);
}

void Model::set_parameters(std::vector<float> parameters) { replace(nullptr, &parameters); }

void Model::set_normalization(const Normalization& normalization) { replace(&normalization, nullptr); }

std::shared_ptr<Model::Busy> Model::begin_training() {
  if (training_->exchange(true)) {
    throw Error("MODEL_BUSY", "Expected one training at a time for fit but received a second one");
  }
  return std::make_shared<Busy>(training_);
}

TrainResult Model::fit(const TrainOptions& options, const TrainingData& data, TrainingState start,
                       const Cancellation& stop, const TrainObserver& observer, Collective* ranks) {
  const WeightsPointer now = weights();
  if (start.optimizer.parameters.empty()) start.optimizer.parameters = now->parameters;
  TrainObserver observing = observer;
  observing.weights = [this](const std::vector<float>& parameters) { set_parameters(parameters); };
  return train(*engine_, num_classes_, now->normalization, options, data, std::move(start), stop, observing, ranks);
}

}  // namespace lenet5
