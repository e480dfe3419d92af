// What an evaluation counted, on its way to JavaScript (NativeEvaluation in lib/native/types.ts).
#pragma once

#include <napi.h>

#include "../lenet5/evaluation.h"
#include "typed_arrays.h"

namespace lenet5::addon {

// All but the confusion matrix, which is classes² large.
inline void set_counts(Napi::Env env, Napi::Object& object, const Evaluation& evaluation) {
  object.Set("loss", evaluation.loss);
  object.Set("actual", copy_out(env, evaluation.actual));
  object.Set("predicted", copy_out(env, evaluation.predicted));
  object.Set("right", copy_out(env, evaluation.right));
}

}  // namespace lenet5::addon
