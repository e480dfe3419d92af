// A training run as JavaScript asks for it (NativeFitRequest in lib/native.ts).
#pragma once

#include <napi.h>

#include <memory>

#include "../core/trainer.h"

namespace lenet5::addon {

struct FitRequest {
  TrainOptions options;
  std::shared_ptr<const ImageSet> train, validation;
  TrainingState start;
};

// Copies what it needs; the facade has checked the values.
FitRequest fit_request(const Napi::Object& object);

}  // namespace lenet5::addon
