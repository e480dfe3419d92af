#include "lenet5_class.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "async_task.h"
#include "typed_arrays.h"

namespace lenet5::addon {

namespace {

// What the garbage collector should know a model weighs: weights, their packed copy and libtorch's share.
constexpr int64_t kExternalBytes = 1 << 20;

Images view_of(const Napi::Value& pixels, int size) {
  const auto array = pixels.As<Napi::TypedArray>();
  const bool is_float = array.TypedArrayType() == napi_float32_array;
  const void* data = is_float ? static_cast<const void*>(array.As<Napi::Float32Array>().Data())
                              : static_cast<const void*>(array.As<Napi::Uint8Array>().Data());
  return {data, is_float ? kernels::PixelType::float32 : kernels::PixelType::uint8, size,
          static_cast<int64_t>(array.ElementLength()) / (int64_t{size} * size)};
}

// Pixels that belong to a task, safe from what JavaScript does meanwhile.
class OwnedImages {
 public:
  OwnedImages(const std::vector<Napi::Value>& parts, int size) : images_{nullptr, kernels::PixelType::uint8, size, 0} {
    size_t bytes = 0;
    for (const Napi::Value& part : parts) bytes += part.As<Napi::TypedArray>().ByteLength();
    data_.resize(bytes);
    size_t offset = 0;
    for (const Napi::Value& part : parts) {
      const Images view = view_of(part, size);
      const size_t length = part.As<Napi::TypedArray>().ByteLength();
      if (length > 0) std::memcpy(data_.data() + offset, view.pixels, length);
      offset += length;
      images_.type = view.type;
      images_.count += view.count;
    }
    images_.pixels = data_.data();
  }
  OwnedImages(OwnedImages&& other) noexcept : data_(std::move(other.data_)), images_(other.images_) {
    images_.pixels = data_.data();
  }

  const Images& view() const { return images_; }

 private:
  std::vector<char> data_;
  Images images_;
};

std::shared_ptr<const ImageSet> image_set(const Napi::Value& value) {
  const auto object = value.As<Napi::Object>();
  auto set = std::make_shared<ImageSet>();
  set->images = copy_in<uint8_t>(object.Get("images"));
  set->labels = copy_in<int32_t>(object.Get("labels"));
  set->size = object.Get("size").As<Napi::Number>().Int32Value();
  return set;
}

double number(const Napi::Object& object, const char* name) {
  return object.Get(name).As<Napi::Number>().DoubleValue();
}

int64_t integer(const Napi::Object& object, const char* name) {
  return object.Get(name).As<Napi::Number>().Int64Value();
}

// In place: log-probabilities to the index of the largest and, unless `log`, to probabilities.
void finish(float* scores, int64_t count, int64_t classes, int32_t* labels, bool log) {
  for (int64_t i = 0; i < count; i++) {
    float* row = scores + i * classes;
    if (labels != nullptr) labels[i] = static_cast<int32_t>(std::max_element(row, row + classes) - row);
    if (log) continue;
    for (int64_t c = 0; c < classes; c++) row[c] = std::exp(row[c]);
  }
}

class PredictTask : public AsyncTask {
 public:
  PredictTask(Napi::Env env, std::shared_ptr<Model> model, OwnedImages images, bool log)
      : AsyncTask(env), model_(std::move(model)), images_(std::move(images)), log_(log) {}

 private:
  void Run() override {
    const int64_t classes = model_->placement().num_classes;
    const int64_t count = images_.view().count;
    scores_.resize(count * classes);
    labels_.resize(count);
    model_->predict(images_.view(), scores_.data());
    finish(scores_.data(), count, classes, labels_.data(), log_);
    model_.reset();
  }
  Napi::Value Result(Napi::Env env) override {
    Napi::Object result = Napi::Object::New(env);
    result.Set("output", copy_out(env, scores_));
    result.Set("labels", copy_out(env, labels_));
    return result;
  }

  std::shared_ptr<Model> model_;
  OwnedImages images_;
  bool log_;
  std::vector<float> scores_;
  std::vector<int32_t> labels_;
};

class EvaluateTask : public AsyncTask {
 public:
  EvaluateTask(Napi::Env env, std::shared_ptr<Model> model, std::shared_ptr<const ImageSet> data, int64_t batch)
      : AsyncTask(env), model_(std::move(model)), data_(std::move(data)), batch_(batch) {}

 private:
  void Run() override {
    const auto predictor = model_->predictor();
    result_ = evaluate(*predictor, model_->placement().num_classes, data_->view(), data_->labels.data(), batch_);
    model_.reset();
  }
  Napi::Value Result(Napi::Env env) override {
    Napi::Object result = Napi::Object::New(env);
    result.Set("loss", result_.loss);
    result.Set("confusion", copy_out(env, result_.confusion));
    return result;
  }

  std::shared_ptr<Model> model_;
  std::shared_ptr<const ImageSet> data_;
  int64_t batch_;
  Evaluation result_{};
};

class GradientsTask : public AsyncTask {
 public:
  GradientsTask(Napi::Env env, std::shared_ptr<Model> model, OwnedImages images, std::vector<int32_t> labels)
      : AsyncTask(env), model_(std::move(model)), images_(std::move(images)), labels_(std::move(labels)) {}

 private:
  void Run() override {
    gradients_.resize(parameter_length(model_->placement().num_classes));
    loss_ = model_->gradients(images_.view(), labels_.data(), gradients_.data()).loss;
  }
  Napi::Value Result(Napi::Env env) override {
    Napi::Object result = Napi::Object::New(env);
    result.Set("loss", loss_);
    result.Set("gradients", copy_out(env, gradients_));
    return result;
  }

  std::shared_ptr<Model> model_;
  OwnedImages images_;
  std::vector<int32_t> labels_;
  std::vector<float> gradients_;
  double loss_ = 0;
};

class ExportTask : public AsyncTask {
 public:
  ExportTask(Napi::Env env, std::shared_ptr<Model> model, ExtraFiles extra_files)
      : AsyncTask(env), model_(std::move(model)), extra_files_(std::move(extra_files)) {}

 private:
  void Run() override { archive_ = model_->to_torchscript(extra_files_); }
  Napi::Value Result(Napi::Env env) override {
    return copy_out(env, reinterpret_cast<const uint8_t*>(archive_.data()), archive_.size());
  }

  std::shared_ptr<Model> model_;
  ExtraFiles extra_files_;
  std::string archive_;
};

class VerifyTask : public AsyncTask {
 public:
  VerifyTask(Napi::Env env, std::shared_ptr<Model> model, std::string archive)
      : AsyncTask(env), model_(std::move(model)), archive_(std::move(archive)) {}

 private:
  void Run() override { difference_ = model_->difference_from(archive_); }
  Napi::Value Result(Napi::Env env) override { return Napi::Number::New(env, difference_); }

  std::shared_ptr<Model> model_;
  std::string archive_;
  double difference_ = 0;
};

class ReadTask : public AsyncTask {
 public:
  ReadTask(Napi::Env env, std::string archive, std::string extra_file)
      : AsyncTask(env), archive_(std::move(archive)), extra_file_(std::move(extra_file)) {}

 private:
  // The largest LeNet-5 that the facade makes has 10,000 classes.
  static constexpr int64_t kLargest = kernels::parameter_count(10000);

  void Run() override { contents_ = read_torchscript(archive_, extra_file_, kLargest); }
  Napi::Value Result(Napi::Env env) override {
    Napi::Object tensors = Napi::Object::New(env);
    for (const NamedTensor& tensor : contents_.tensors) {
      Napi::Array shape = Napi::Array::New(env, tensor.shape.size());
      for (uint32_t i = 0; i < tensor.shape.size(); i++) shape.Set(i, static_cast<double>(tensor.shape[i]));
      Napi::Object entry = Napi::Object::New(env);
      entry.Set("shape", shape);
      entry.Set("data", copy_out(env, tensor.data));
      tensors.Set(tensor.name, entry);
    }
    Napi::Object result = Napi::Object::New(env);
    result.Set("tensors", tensors);
    result.Set("metadata", contents_.extra_file);
    return result;
  }

  std::string archive_, extra_file_;
  TorchScriptContents contents_;
};

Napi::Value read_torchscript_js(const Napi::CallbackInfo& info) {
  return AsyncTask::start(new ReadTask(info.Env(), copy_bytes_in(info[0]), info[1].As<Napi::String>().Utf8Value()));
}

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
    Napi::MemoryManagement::AdjustExternalMemory(info.Env(), kExternalBytes);
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

void LeNet5Class::JS_dispose(const Napi::CallbackInfo& info) {
  if (run_) run_->stop.store(true);
  if (model_) Napi::MemoryManagement::AdjustExternalMemory(info.Env(), -kExternalBytes);
  model_.reset();
}

}  // namespace lenet5::addon
