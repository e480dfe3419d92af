// The class behind lib/lenet5.ts: values in, values out. Arguments have been checked by the facade; its interface is
// NativeLeNet5 in lib/native.ts. Methods that JavaScript calls are named JS_*.
#pragma once

#include <napi.h>

#include <memory>
#include <optional>

#include "../core/model.h"
#include "external_memory.h"
#include "fit_session.h"

namespace lenet5::addon {

class LeNet5Class : public Napi::ObjectWrap<LeNet5Class> {
 public:
  static void register_in(Napi::Env env, Napi::Object exports);
  explicit LeNet5Class(const Napi::CallbackInfo& info);

 private:
  Napi::Value JS_device(const Napi::CallbackInfo& info);
  Napi::Value JS_engine(const Napi::CallbackInfo& info);
  Napi::Value JS_instructionSet(const Napi::CallbackInfo& info);
  void JS_predictSync(const Napi::CallbackInfo& info);
  Napi::Value JS_predict(const Napi::CallbackInfo& info);
  Napi::Value JS_evaluate(const Napi::CallbackInfo& info);
  Napi::Value JS_gradients(const Napi::CallbackInfo& info);
  Napi::Value JS_fit(const Napi::CallbackInfo& info);
  void JS_stop(const Napi::CallbackInfo& info);
  void JS_halt(const Napi::CallbackInfo& info);
  Napi::Value JS_parameters(const Napi::CallbackInfo& info);
  void JS_setParameters(const Napi::CallbackInfo& info);
  void JS_setNormalization(const Napi::CallbackInfo& info);
  Napi::Value JS_exportTorchScript(const Napi::CallbackInfo& info);
  Napi::Value JS_verifyTorchScript(const Napi::CallbackInfo& info);
  void JS_dispose(const Napi::CallbackInfo& info);

  // Throws DISPOSED. Work under way holds the pointer it got, so that dispose() never pulls a model from under it.
  std::shared_ptr<Model> model() const;

  std::shared_ptr<Model> model_;
  std::optional<ExternalMemory> weight_;
  Placement placement_{10};
  std::shared_ptr<FitThread> run_;
};

}  // namespace lenet5::addon
