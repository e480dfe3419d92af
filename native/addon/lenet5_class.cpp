#include "lenet5_class.h"

#include <utility>

#include "fit_request.h"
#include "images.h"
#include "lenet5_tasks.h"
#include "numbers.h"
#include "typed_arrays.h"

namespace lenet5::addon {

namespace {

// What the garbage collector should know a model weighs: weights, their packed copy and libtorch's share.
constexpr int64_t kExternalBytes = 1 << 20;

Napi::Value read_torchscript_js(const Napi::CallbackInfo& info) {
  return AsyncTask::start(new ReadTask(info.Env(), copy_bytes_in(info[0]), info[1].As<Napi::String>().Utf8Value()));
}

}  // namespace

void LeNet5Class::register_in(Napi::Env env, Napi::Object exports) {
  exports.Set("LeNet5", DefineClass(env, "LeNet5",
                                    {
                                        InstanceAccessor<&LeNet5Class::JS_device>("device"),
                                        InstanceAccessor<&LeNet5Class::JS_engine>("engine"),
                                        InstanceAccessor<&LeNet5Class::JS_instructionSet>("instructionSet"),
                                        InstanceMethod<&LeNet5Class::JS_predictSync>("predictSync"),
                                        InstanceMethod<&LeNet5Class::JS_predict>("predict"),
                                        InstanceMethod<&LeNet5Class::JS_evaluate>("evaluate"),
                                        InstanceMethod<&LeNet5Class::JS_gradients>("gradients"),
                                        InstanceMethod<&LeNet5Class::JS_fit>("fit"),
                                        InstanceMethod<&LeNet5Class::JS_stop>("stop"),
                                        InstanceMethod<&LeNet5Class::JS_halt>("halt"),
                                        InstanceMethod<&LeNet5Class::JS_parameters>("parameters"),
                                        InstanceMethod<&LeNet5Class::JS_setParameters>("setParameters"),
                                        InstanceMethod<&LeNet5Class::JS_setNormalization>("setNormalization"),
                                        InstanceMethod<&LeNet5Class::JS_exportTorchScript>("exportTorchScript"),
                                        InstanceMethod<&LeNet5Class::JS_verifyTorchScript>("verifyTorchScript"),
                                        InstanceMethod<&LeNet5Class::JS_dispose>("dispose"),
                                    }));
  exports.Set("readTorchScript", Napi::Function::New(env, read_torchscript_js, "readTorchScript"));
}

LeNet5Class::LeNet5Class(const Napi::CallbackInfo& info) : Napi::ObjectWrap<LeNet5Class>(info) {
  with_js_errors(info.Env(), [&] {
    const auto options = info[0].As<Napi::Object>();
    const int64_t classes = integer(options, "numClasses");
    std::vector<float> parameters;
    if (options.Has("parameters")) {
      parameters = copy_in<float>(options.Get("parameters"));
    } else {
      const auto seed = static_cast<uint64_t>(integer(options, "seed"));
      const torch::Tensor initial = initial_parameters(classes, seed);
      parameters.assign(initial.data_ptr<float>(), initial.data_ptr<float>() + initial.numel());
    }
    if (static_cast<int64_t>(parameters.size()) != parameter_length(classes)) {
      throw Error("MODEL_MISMATCH", "Expected " + std::to_string(parameter_length(classes)) +
                                        " parameters for the model but received " + std::to_string(parameters.size()));
    }
    model_ = std::make_shared<Model>(
        classes, Normalization{number(options, "mean"), number(options, "std")},
        options.Get("device").As<Napi::String>().Utf8Value(), options.Get("engine").As<Napi::String>().Utf8Value(),
        options.Get("instructionSet").As<Napi::String>().Utf8Value(), std::move(parameters));
    placement_ = model_->placement();
    weight_.emplace(info.Env(), kExternalBytes);
  });
}

std::shared_ptr<Model> LeNet5Class::model() const {
  if (!model_) throw Error("DISPOSED", "Expected a live model for the call but received one that was disposed of");
  return model_;
}

Napi::Value LeNet5Class::JS_device(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), placement_.device.str());
}

Napi::Value LeNet5Class::JS_engine(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), placement_.engine == EngineKind::fused ? "fused" : "libtorch");
}

Napi::Value LeNet5Class::JS_instructionSet(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(),
                           placement_.engine == EngineKind::fused ? kernels::name(placement_.instruction_set) : "none");
}

void LeNet5Class::JS_predictSync(const Napi::CallbackInfo& info) {
  with_js_errors(info.Env(), [&] {
    const Images images = view_of(info[0], info[1].As<Napi::Number>().Int32Value());
    float* output = info[2].As<Napi::Float32Array>().Data();
    int32_t* labels = info[3].IsUndefined() ? nullptr : info[3].As<Napi::Int32Array>().Data();
    model()->predict(images, output);
    finish(output, images.count, placement_.num_classes, labels, info[4].As<Napi::Boolean>());
  });
}

Napi::Value LeNet5Class::JS_predict(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    const auto array = info[0].As<Napi::Array>();
    std::vector<Napi::Value> parts;
    for (uint32_t i = 0; i < array.Length(); i++) parts.push_back(array.Get(i));
    OwnedImages images(parts, info[1].As<Napi::Number>().Int32Value());
    return AsyncTask::start(
        new PredictTask(info.Env(), model(), std::move(images), info[2].As<Napi::Boolean>().Value()));
  });
}

Napi::Value LeNet5Class::JS_evaluate(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    return AsyncTask::start(
        new EvaluateTask(info.Env(), model(), image_set(info[0]), info[1].As<Napi::Number>().Int64Value()));
  });
}

Napi::Value LeNet5Class::JS_gradients(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    return AsyncTask::start(new GradientsTask(info.Env(), model(),
                                              OwnedImages({info[0]}, info[1].As<Napi::Number>().Int32Value()),
                                              copy_in<int32_t>(info[2])));
  });
}

Napi::Value LeNet5Class::JS_fit(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    run_ = std::make_shared<FitThread>();
    return start_fit(info.Env(), model(), fit_request(info[0].As<Napi::Object>()), info[1].As<Napi::Function>(), run_);
  });
}

void LeNet5Class::JS_stop(const Napi::CallbackInfo&) {
  if (run_) run_->stop.store(true);
}

void LeNet5Class::JS_halt(const Napi::CallbackInfo&) {
  if (run_) run_->halt();
}

Napi::Value LeNet5Class::JS_parameters(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value { return copy_out(info.Env(), model()->parameters()); });
}

void LeNet5Class::JS_setParameters(const Napi::CallbackInfo& info) {
  with_js_errors(info.Env(), [&] { model()->set_parameters(copy_in<float>(info[0])); });
}

void LeNet5Class::JS_setNormalization(const Napi::CallbackInfo& info) {
  with_js_errors(info.Env(), [&] {
    model()->set_normalization({info[0].As<Napi::Number>().DoubleValue(), info[1].As<Napi::Number>().DoubleValue()});
  });
}

Napi::Value LeNet5Class::JS_exportTorchScript(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    const auto object = info[0].As<Napi::Object>();
    ExtraFiles extra_files;
    const Napi::Array names = object.GetPropertyNames();
    for (uint32_t i = 0; i < names.Length(); i++) {
      const std::string name = names.Get(i).As<Napi::String>().Utf8Value();
      extra_files[name] = object.Get(name).As<Napi::String>().Utf8Value();
    }
    return AsyncTask::start(new ExportTask(info.Env(), model(), std::move(extra_files)));
  });
}

Napi::Value LeNet5Class::JS_verifyTorchScript(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    return AsyncTask::start(new VerifyTask(info.Env(), model(), copy_bytes_in(info[0])));
  });
}

void LeNet5Class::JS_dispose(const Napi::CallbackInfo&) {
  if (run_) run_->stop.store(true);
  model_.reset();
  weight_.reset();
}

}  // namespace lenet5::addon
