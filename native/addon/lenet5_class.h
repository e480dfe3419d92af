// The class behind lib/lenet5.ts: values in, values out. Its interface is NativeLeNet5 in lib/native/types.ts. Methods
// that JavaScript calls are named JS_*; what they do off the event loop is in lenet5_tasks.h.
#pragma once

#include <napi.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../lenet5/model.h"
#include "external_memory.h"
#include "fit_class.h"

namespace lenet5::addon {

class LeNet5Class : public Napi::ObjectWrap<LeNet5Class> {
 public:
  explicit LeNet5Class(const Napi::CallbackInfo& info);

  Napi::Value JS_device(const Napi::CallbackInfo& info);
  Napi::Value JS_engine(const Napi::CallbackInfo& info);
  Napi::Value JS_instructionSet(const Napi::CallbackInfo& info);
  void JS_predictSync(const Napi::CallbackInfo& info);
  Napi::Value JS_predict(const Napi::CallbackInfo& info);
  Napi::Value JS_evaluate(const Napi::CallbackInfo& info);
  Napi::Value JS_gradients(const Napi::CallbackInfo& info);
  Napi::Value JS_prepareFit(const Napi::CallbackInfo& info);
  Napi::Value JS_parameters(const Napi::CallbackInfo& info);
  void JS_setParameters(const Napi::CallbackInfo& info);
  void JS_dispose(const Napi::CallbackInfo& info);

 private:
  // Throws DISPOSED. Work under way holds the pointer it got, so that dispose() never pulls a model from under it.
  std::shared_ptr<Model> model() const;

  std::shared_ptr<Model> model_;
  std::optional<ExternalMemory> memory_;
  // Outlive the model, for the getters.
  std::string device_, engine_, instruction_set_;
  // The trainings made of this model, which end with it.
  std::vector<std::weak_ptr<FitThread>> runs_;
};

}  // namespace lenet5::addon
