#include "lenet5_class.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "../lenet5/parameters.h"
#include "cancellation.h"
#include "checked.h"
#include "constructors.h"
#include "images.h"
#include "lenet5_tasks.h"
#include "typed_arrays.h"

namespace lenet5::addon {

namespace {

// What the garbage collector should know a model weighs: weights and what an engine makes of them.
constexpr int64_t kExternalBytes = 1 << 20;

constexpr int64_t kMaxBatch = 1'000'000'000;

std::vector<Napi::Value> items_of(const Napi::Array& array) {
  std::vector<Napi::Value> items;
  for (uint32_t i = 0; i < array.Length(); i++) items.push_back(array.Get(i));
  return items;
}

struct Memory {
  const void* data;
  size_t bytes;
};

bool meet(const Memory& a, const Memory& b) {
  const auto start_a = reinterpret_cast<uintptr_t>(a.data), start_b = reinterpret_cast<uintptr_t>(b.data);
  return a.bytes > 0 && b.bytes > 0 && start_a < start_b + b.bytes && start_b < start_a + a.bytes;
}

}  // namespace

// new LeNet5({ numClasses, mean, std, device, engine, instructionSet, seed | parameters })
LeNet5Class::LeNet5Class(const Napi::CallbackInfo& info) : Napi::ObjectWrap<LeNet5Class>(info) {
  with_js_errors(info.Env(), [&] {
    const Napi::Object options = object_of(info[0], "new LeNet5");
    EngineRequest request;
    request.num_classes = integer_of(options.Get("numClasses"), "numClasses", 1, kMaxClasses);
    request.device = text_of(options.Get("device"), "device");
    request.engine = text_of(options.Get("engine"), "engine");
    request.instruction_set = text_of(options.Get("instructionSet"), "instructionSet");
    const Normalization normalization{number_of(options.Get("mean"), "mean"), number_of(options.Get("std"), "std")};
    const Napi::Value given = options.Get("parameters");
    std::vector<float> parameters;
    if (given.IsUndefined()) {
      const int64_t seed = integer_of(options.Get("seed"), "seed", 0, kMaxSafeInteger);
      parameters = initial_parameters(request.num_classes, static_cast<uint64_t>(seed));
    } else {
      parameters = copy_of<float>(given, "parameters");
    }
    model_ = std::make_shared<Model>(request, normalization, std::move(parameters));
    device_ = model_->engine().device();
    engine_ = model_->engine().name();
    instruction_set_ = model_->engine().instruction_set();
    memory_.emplace(info.Env(), kExternalBytes);
  });
}

std::shared_ptr<Model> LeNet5Class::model() const {
  if (!model_) throw Error("DISPOSED", "Expected a live model for the call but received one that was disposed of");
  return model_;
}

Napi::Value LeNet5Class::JS_device(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), device_); }

Napi::Value LeNet5Class::JS_engine(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), engine_); }

Napi::Value LeNet5Class::JS_instructionSet(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), instruction_set_);
}

// predictSync(pixels, size, output, labels | undefined, log). No JavaScript runs in between, so the arrays stay as they
// are. What is written must not be what is still to be read.
void LeNet5Class::JS_predictSync(const Napi::CallbackInfo& info) {
  with_js_errors(info.Env(), [&] {
    const bool log = boolean_of(info[4], "log");
    const Images images = images_view_of(info[0], size_of(info[1], "size"), "images");
    const WeightsPointer weights = model()->weights();
    const View<float> output = view_of<float>(info[2], "output");
    const auto count = static_cast<size_t>(images.count), length = count * static_cast<size_t>(weights->num_classes);
    if (output.length < length) {
      throw Error("INVALID_SHAPE", "Expected a Float32Array of at least " + std::to_string(length) +
                                       " elements for output but received " + std::to_string(output.length));
    }
    int32_t* labels = nullptr;
    if (!info[3].IsUndefined()) {
      const View<int32_t> view = view_of<int32_t>(info[3], "labels");
      if (view.length < count) {
        throw Error("INVALID_SHAPE", "Expected an Int32Array of at least " + std::to_string(count) +
                                         " elements for labels but received " + std::to_string(view.length));
      }
      labels = view.data;
    }
    const Memory read{images.pixels, count * static_cast<size_t>(image_bytes(images))},
        scores{output.data, length * sizeof(float)}, classes{labels, labels == nullptr ? 0 : count * sizeof(int32_t)};
    if (meet(read, scores) || meet(read, classes) || meet(scores, classes)) {
      throw Error("INVALID_ARGUMENT",
                  "Expected memory apart from the other arrays' for output but received some of it");
    }
    predict(*weights, images, {output.data, labels, log});
  });
}

// predict([pixels, …], size, log, cancellation | undefined, counts | undefined)
Napi::Value LeNet5Class::JS_predict(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    const int size = size_of(info[1], "size");
    const bool log = boolean_of(info[2], "log");
    auto cancellation = cancellation_of(info[3], "cancellation");
    OwnedImages images(items_of(array_of(info[0], "images")), size, info[4]);
    return AsyncTask::start(
        new PredictTask(info.Env(), model()->weights(), std::move(images), log, std::move(cancellation)));
  });
}

// evaluate(set, batchSize, cancellation | undefined, onProgress | undefined)
Napi::Value LeNet5Class::JS_evaluate(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    const WeightsPointer weights = model()->weights();
    const int64_t batch = integer_of(info[1], "batchSize", 1, kMaxBatch);
    auto cancellation = cancellation_of(info[2], "cancellation");
    auto set = std::make_unique<ImageSet>(image_set_of(info[0], weights->num_classes, "data"));
    std::shared_ptr<ProgressChannel> progress;
    if (!info[3].IsUndefined()) progress = ProgressChannel::open(info.Env(), function_of(info[3], "onProgress"));
    return AsyncTask::start(
        new EvaluateTask(info.Env(), weights, std::move(set), batch, std::move(cancellation), std::move(progress)));
  });
}

// gradients(pixels, size, labels)
Napi::Value LeNet5Class::JS_gradients(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    const auto held = model();
    OwnedImages images({info[0]}, size_of(info[1], "size"), info.Env().Undefined());
    std::vector<int32_t> labels = copy_of<int32_t>(info[2], "labels");
    const auto count = static_cast<size_t>(images.view().count);
    if (count == 0) throw Error("DATA_EMPTY", "Expected at least one image for gradients but received none");
    if (labels.size() != count) {
      throw Error("COUNT_MISMATCH", "Expected " + std::to_string(count) +
                                        " labels, one an image, for labels but received " +
                                        std::to_string(labels.size()));
    }
    check_labels(labels, held->num_classes(), "labels");
    return AsyncTask::start(new GradientsTask(info.Env(), held, std::move(images), std::move(labels)));
  });
}

// prepareFit(request): copies and checks the data; start() begins.
Napi::Value LeNet5Class::JS_prepareFit(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    const auto held = model();
    auto prepared = std::make_unique<PreparedFit>(
        PreparedFit{held, fit_request_of(info[0], held->num_classes()), std::make_shared<FitThread>()});
    runs_.erase(std::remove_if(runs_.begin(), runs_.end(), [](const auto& run) { return run.expired(); }), runs_.end());
    runs_.push_back(prepared->run);
    return constructors(info.Env()).fit.New({to_external(info.Env(), std::move(prepared))});
  });
}

Napi::Value LeNet5Class::JS_parameters(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(),
                        [&]() -> Napi::Value { return copy_out(info.Env(), model()->weights()->parameters); });
}

void LeNet5Class::JS_setParameters(const Napi::CallbackInfo& info) {
  with_js_errors(info.Env(), [&] { model()->set_parameters(copy_of<float>(info[0], "parameters")); });
}

void LeNet5Class::JS_dispose(const Napi::CallbackInfo&) {
  for (const auto& each : runs_) {
    if (const auto run = each.lock()) run->stop.store(true);
  }
  model_.reset();
  memory_.reset();
}

}  // namespace lenet5::addon
