#include "torchscript_files.h"

#include <memory>
#include <string>
#include <utility>

#include "../addon/async_task.h"
#include "../addon/checked.h"
#include "../addon/external.h"
#include "../addon/typed_arrays.h"
#include "../core/torchscript.h"
#include "../lenet5/model.h"
#include "../lenet5/parameters.h"

namespace lenet5::addon {

// The weights of one moment in JavaScript's hands, for verifyTorchScript.
template <>
struct ExternalKind<WeightsPointer> {
  static constexpr napi_type_tag tag{0x8e17d2c4b6a05f39, 0x52b9f0d3e8c6a174};
  static constexpr const char* name = "a model's weights";
};

namespace {

class ExportTask : public AsyncTask {
 public:
  ExportTask(Napi::Env env, WeightsPointer weights, ExtraFiles extra_files)
      : AsyncTask(env), weights_(std::move(weights)), extra_files_(std::move(extra_files)) {}

 private:
  void Run() override { archive_ = export_torchscript(*weights_, extra_files_); }
  // The weights go along: what was written is to be compared with them, whatever the model has by then.
  Napi::Value Result(Napi::Env env) override {
    Napi::Object result = Napi::Object::New(env);
    result.Set("archive", copy_out(env, reinterpret_cast<const uint8_t*>(archive_.data()), archive_.size()));
    result.Set("weights", to_external(env, std::make_unique<WeightsPointer>(weights_)));
    return result;
  }

  WeightsPointer weights_;
  ExtraFiles extra_files_;
  std::string archive_;
};

class VerifyTask : public AsyncTask {
 public:
  VerifyTask(Napi::Env env, WeightsPointer weights, std::string archive)
      : AsyncTask(env), weights_(std::move(weights)), archive_(std::move(archive)) {}

 private:
  void Run() override { difference_ = difference_from_torchscript(*weights_, archive_); }
  Napi::Value Result(Napi::Env env) override { return Napi::Number::New(env, difference_); }

  WeightsPointer weights_;
  std::string archive_;
  double difference_ = 0;
};

// { numClasses, mean, std, parameters }; the fused engine answers for them.
WeightsPointer weights_of(const Napi::Value& value) {
  const Napi::Object object = object_of(value, "model");
  EngineRequest request;
  request.num_classes = integer_of(object.Get("numClasses"), "numClasses", 1, kMaxClasses);
  request.engine = "fused";
  const Normalization normalization{number_of(object.Get("mean"), "mean"), number_of(object.Get("std"), "std")};
  const Napi::Value parameters = object.Get("parameters");
  return Model(request, normalization, copy_of<float>(parameters, "parameters")).weights();
}

ExtraFiles extra_files_of(const Napi::Value& value) {
  const Napi::Object object = object_of(value, "extraFiles");
  ExtraFiles files;
  const Napi::Array names = object.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); i++) {
    const std::string name = text_of(names.Get(i), "a file's name");
    files[name] = text_of(object.Get(name), "a file's text");
  }
  return files;
}

std::string archive_of(const Napi::Value& value) {
  const View<uint8_t> view = view_of<uint8_t>(value, "archive");
  return std::string(reinterpret_cast<const char*>(view.data), view.length);
}

}  // namespace

Napi::Value export_torchscript_file(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    WeightsPointer weights = weights_of(info[0]);
    return AsyncTask::start(new ExportTask(info.Env(), std::move(weights), extra_files_of(info[1])));
  });
}

Napi::Value verify_torchscript_file(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    const WeightsPointer& weights = from_external<WeightsPointer>(info[1], "weights");
    return AsyncTask::start(new VerifyTask(info.Env(), weights, archive_of(info[0])));
  });
}

}  // namespace lenet5::addon
