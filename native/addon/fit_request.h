// A training run as JavaScript asks for it (NativeFitRequest and NativeTrainingState in lib/native/types.ts).
#pragma once

#include <napi.h>

#include <memory>

#include "../lenet5/trainer.h"

namespace lenet5::addon {

struct FitRequest {
  TrainOptions options;
  TrainingData data;
};

// Copied and checked. Throws INVALID_ARGUMENT, INVALID_DTYPE and what check_set throws.
std::shared_ptr<const FitRequest> fit_request_of(const Napi::Value& value, int64_t num_classes);

// Throws CHECKPOINT_CORRUPT.
TrainingState training_state_of(const Napi::Value& value, int64_t num_classes);
Napi::Object to_js(Napi::Env env, const TrainingState& state);

}  // namespace lenet5::addon
