#include "fit_request.h"

#include <string>

#include "images.h"
#include "numbers.h"

namespace lenet5::addon {

namespace {

TrainingState training_state(const Napi::Object& object) {
  TrainingState state;
  state.optimizer.parameters = copy_in<float>(object.Get("parameters"));
  state.optimizer.exp_avg = copy_in<float>(object.Get("expAvg"));
  state.optimizer.exp_avg_sq = copy_in<float>(object.Get("expAvgSq"));
  state.optimizer.step = integer(object, "step");
  state.epoch = integer(object, "epoch");
  state.generator = copy_in<uint8_t>(object.Get("generator"));
  return state;
}

}  // namespace

FitRequest fit_request(const Napi::Object& object) {
  FitRequest request;
  TrainOptions& options = request.options;
  options.epochs = integer(object, "epochs");
  options.batch_size = integer(object, "batchSize");
  options.adam = {number(object, "learningRate"), number(object, "beta1"), number(object, "beta2"),
                  number(object, "epsilon"), number(object, "weightDecay")};
  options.schedule =
      object.Get("schedule").As<Napi::String>().Utf8Value() == "one-cycle" ? Schedule::one_cycle : Schedule::constant;
  options.seed = static_cast<uint64_t>(integer(object, "seed"));
  options.progress_seconds = number(object, "progressSeconds");
  options.snapshots = object.Get("snapshots").As<Napi::Boolean>();
  request.train = image_set(object.Get("train"));
  if (object.Has("validation")) request.validation = image_set(object.Get("validation"));
  if (object.Has("resume")) request.start = training_state(object.Get("resume").As<Napi::Object>());
  return request;
}

}  // namespace lenet5::addon
