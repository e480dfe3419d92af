#include "fit_request.h"

#include <cmath>
#include <stdexcept>
#include <string>

#include "../lenet5/error.h"
#include "checked.h"
#include "images.h"
#include "typed_arrays.h"

namespace lenet5::addon {

namespace {

constexpr int64_t kMaxEpochs = 1'000'000'000, kMaxBatch = 1'000'000'000;

bool given(const Napi::Value& value) { return !value.IsUndefined(); }

double number_in(const Napi::Object& object, const char* name) { return number_of(object.Get(name), name); }

int64_t count_in(const Napi::Object& object, const char* name, int64_t least, int64_t largest) {
  return integer_of(object.Get(name), name, least, largest);
}

Schedule schedule_of(const Napi::Value& value) {
  const std::string name = text_of(value, "schedule");
  if (name == "constant") return Schedule::constant;
  if (name == "one-cycle") return Schedule::one_cycle;
  throw Error("INVALID_OPTION", R"(Expected "constant" or "one-cycle" for schedule but received another string)");
}

std::vector<float> class_weights_of(const Napi::Value& value, int64_t num_classes) {
  std::vector<float> weights = copy_of<float>(value, "classWeights");
  if (weights.size() != static_cast<size_t>(num_classes)) {
    throw Error("INVALID_OPTION", "Expected " + std::to_string(num_classes) +
                                      " numbers, one a class, for classWeights but received " +
                                      std::to_string(weights.size()));
  }
  for (const float weight : weights) {
    if (std::isfinite(weight) && weight >= 0) continue;
    throw Error("INVALID_OPTION", "Expected finite numbers of at least 0 for classWeights but received another");
  }
  return weights;
}

Augmentation augmentation_of(const Napi::Value& value) {
  const Napi::Object object = object_of(value, "augmentation");
  const Augmentation augmentation{number_in(object, "shift"),        number_in(object, "rotation"),
                                  number_in(object, "scale"),        number_in(object, "shear"),
                                  number_in(object, "elasticAlpha"), number_in(object, "elasticSigma")};
  try {
    kernels::check_augmentation(augmentation);
  } catch (const std::invalid_argument& error) {
    throw Error("INVALID_OPTION", error.what());
  }
  return augmentation;
}

EarlyStoppingOptions early_stopping_of(const Napi::Value& value) {
  const Napi::Object object = object_of(value, "earlyStopping");
  const std::string metric = text_of(object.Get("metric"), "metric");
  if (metric != "loss" && metric != "accuracy") {
    throw Error("INVALID_OPTION", R"(Expected "loss" or "accuracy" for metric but received another string)");
  }
  return {metric == "loss" ? Metric::loss : Metric::accuracy, count_in(object, "patience", 1, kMaxEpochs),
          number_in(object, "minDelta")};
}

EarlyStoppingRecord early_stopping_record_of(const Napi::Value& value) {
  const Napi::Object object = object_of(value, "earlyStopping");
  EarlyStoppingRecord record;
  record.best_epoch = count_in(object, "bestEpoch", 0, kMaxEpochs);
  record.best_value = number_in(object, "bestValue");
  record.waited = count_in(object, "waited", 0, kMaxEpochs);
  record.parameters = copy_of<float>(object.Get("parameters"), "earlyStopping.parameters");
  return record;
}

}  // namespace

std::shared_ptr<const FitRequest> fit_request_of(const Napi::Value& value, int64_t num_classes) {
  const Napi::Object object = object_of(value, "request");
  auto request = std::make_shared<FitRequest>();
  TrainOptions& options = request->options;
  options.epochs = count_in(object, "epochs", 1, kMaxEpochs);
  options.batch_size = count_in(object, "batchSize", 1, kMaxBatch);
  options.accumulated = count_in(object, "accumulated", 1, kMaxBatch);
  options.adam = {number_in(object, "learningRate"), number_in(object, "beta1"), number_in(object, "beta2"),
                  number_in(object, "epsilon"), number_in(object, "weightDecay")};
  options.schedule = schedule_of(object.Get("schedule"));
  options.seed = static_cast<uint64_t>(count_in(object, "seed", 0, kMaxSafeInteger));
  options.progress_seconds = number_in(object, "progressSeconds");
  options.snapshots = boolean_of(object.Get("snapshots"), "snapshots");
  const Napi::Value weights = object.Get("classWeights");
  if (given(weights)) options.class_weights = class_weights_of(weights, num_classes);
  const Napi::Value augmentation = object.Get("augmentation");
  if (given(augmentation)) options.augmentation = augmentation_of(augmentation);
  const Napi::Value early_stopping = object.Get("earlyStopping");
  if (given(early_stopping)) options.early_stopping = early_stopping_of(early_stopping);
  request->data.train = image_set_of(object.Get("train"), num_classes, "train");
  const Napi::Value validation = object.Get("validation");
  if (given(validation)) request->data.validation = image_set_of(validation, num_classes, "validation");
  if (options.early_stopping && !request->data.validation) {
    throw Error("INVALID_OPTION", "Expected a validation set for earlyStopping but received none");
  }
  return request;
}

TrainingState training_state_of(const Napi::Value& value, int64_t num_classes) {
  const Napi::Object object = object_of(value, "resume");
  TrainingState state;
  state.optimizer.parameters = copy_of<float>(object.Get("parameters"), "resume.parameters");
  state.optimizer.exp_avg = copy_of<float>(object.Get("expAvg"), "resume.expAvg");
  state.optimizer.exp_avg_sq = copy_of<float>(object.Get("expAvgSq"), "resume.expAvgSq");
  state.optimizer.step = count_in(object, "step", 0, kMaxSafeInteger);
  state.epoch = count_in(object, "epoch", 0, kMaxEpochs);
  state.generator = copy_of<uint8_t>(object.Get("generator"), "resume.generator");
  const Napi::Value early_stopping = object.Get("earlyStopping");
  if (given(early_stopping)) state.early_stop = early_stopping_record_of(early_stopping);
  check_state(state, num_classes);
  return state;
}

Napi::Object to_js(Napi::Env env, const TrainingState& state) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("parameters", copy_out(env, state.optimizer.parameters));
  object.Set("expAvg", copy_out(env, state.optimizer.exp_avg));
  object.Set("expAvgSq", copy_out(env, state.optimizer.exp_avg_sq));
  object.Set("step", static_cast<double>(state.optimizer.step));
  object.Set("epoch", static_cast<double>(state.epoch));
  object.Set("generator", copy_out(env, state.generator));
  if (state.early_stop) {
    Napi::Object record = Napi::Object::New(env);
    record.Set("bestEpoch", static_cast<double>(state.early_stop->best_epoch));
    record.Set("bestValue", state.early_stop->best_value);
    record.Set("waited", static_cast<double>(state.early_stop->waited));
    record.Set("parameters", copy_out(env, state.early_stop->parameters));
    object.Set("earlyStopping", record);
  }
  return object;
}

}  // namespace lenet5::addon
