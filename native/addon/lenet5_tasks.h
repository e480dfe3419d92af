// What LeNet5Class and the functions about its files do off the event loop, one task a method. A task holds the weights
// it got and the images it copied.
#pragma once

#include <napi.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../core/torchscript.h"
#include "../lenet5/evaluation.h"
#include "../lenet5/model.h"
#include "../lenet5/parameters.h"
#include "async_task.h"
#include "evaluation_js.h"
#include "external.h"
#include "images.h"
#include "progress_channel.h"
#include "typed_arrays.h"

namespace lenet5::addon {

// The weights of one moment in JavaScript's hands, for verifyTorchScript.
template <>
struct ExternalKind<WeightsPointer> {
  static constexpr napi_type_tag tag{0x8e17d2c4b6a05f39, 0x52b9f0d3e8c6a174};
  static constexpr const char* name = "a model's weights";
};

inline Error aborted() { return Error("ABORTED", "The call was aborted"); }

// In place: log-probabilities to the index of the largest and, unless `log`, to probabilities.
inline void finish(float* scores, int64_t count, int64_t classes, int32_t* labels, bool log) {
  for (int64_t i = 0; i < count; i++) {
    float* row = scores + i * classes;
    if (labels != nullptr) labels[i] = static_cast<int32_t>(std::max_element(row, row + classes) - row);
    if (log) continue;
    for (int64_t c = 0; c < classes; c++) row[c] = std::exp(row[c]);
  }
}

class PredictTask : public AsyncTask {
 public:
  PredictTask(Napi::Env env, WeightsPointer weights, OwnedImages images, bool log, CancellationPointer cancellation)
      : AsyncTask(env),
        weights_(std::move(weights)),
        images_(std::move(images)),
        log_(log),
        cancellation_(std::move(cancellation)) {}

 private:
  void Run() override {
    const int64_t classes = weights_->num_classes;
    const int64_t count = images_.view().count;
    refused_ = images_.blank_parts_not_finite();
    scores_.resize(static_cast<size_t>(count * classes));
    labels_.resize(static_cast<size_t>(count));
    if (!predict(*weights_, images_.view(), scores_.data(), cancellation_.get())) throw aborted();
    finish(scores_.data(), count, classes, labels_.data(), log_);
    weights_.reset();
  }
  Napi::Value Result(Napi::Env env) override {
    Napi::Object result = Napi::Object::New(env);
    result.Set("output", copy_out(env, scores_));
    result.Set("labels", copy_out(env, labels_));
    if (!refused_.empty()) result.Set("refused", copy_out(env, refused_));
    return result;
  }

  WeightsPointer weights_;
  OwnedImages images_;
  bool log_;
  CancellationPointer cancellation_;
  std::vector<float> scores_;
  std::vector<int32_t> labels_;
  std::vector<uint32_t> refused_;
};

class EvaluateTask : public AsyncTask {
 public:
  EvaluateTask(Napi::Env env, WeightsPointer weights, std::unique_ptr<const ImageSet> data, int64_t batch,
               CancellationPointer cancellation, std::shared_ptr<ProgressChannel> progress)
      : AsyncTask(env),
        weights_(std::move(weights)),
        data_(std::move(data)),
        batch_(batch),
        cancellation_(std::move(cancellation)),
        progress_(std::move(progress)) {}

 private:
  void Run() override {
    // However this ends: an open channel would keep the process alive.
    const struct Closing {
      ProgressChannel* channel;
      ~Closing() {
        if (channel != nullptr) channel->close();
      }
    } closing{progress_.get()};
    std::function<void(int64_t)> tell;
    if (progress_) tell = [this](int64_t done) { progress_->tell(done); };
    auto result = evaluate(*weights_->predictor, weights_->num_classes, *data_, batch_, cancellation_.get(), tell);
    if (!result) throw aborted();
    result_ = std::move(*result);
    weights_.reset();
    data_.reset();
  }
  void Settling() override {
    if (progress_) progress_->silence();
  }
  Napi::Value Result(Napi::Env env) override {
    Napi::Object result = Napi::Object::New(env);
    set_counts(env, result, result_);
    if (!result_.confusion.empty()) result.Set("confusion", copy_out(env, result_.confusion));
    return result;
  }

  WeightsPointer weights_;
  std::unique_ptr<const ImageSet> data_;
  int64_t batch_;
  CancellationPointer cancellation_;
  std::shared_ptr<ProgressChannel> progress_;
  Evaluation result_{};
};

class GradientsTask : public AsyncTask {
 public:
  GradientsTask(Napi::Env env, std::shared_ptr<Model> model, OwnedImages images, std::vector<int32_t> labels)
      : AsyncTask(env),
        model_(std::move(model)),
        weights_(model_->weights()),
        images_(std::move(images)),
        labels_(std::move(labels)) {}

 private:
  void Run() override {
    check_finite(images_.view());
    gradients_.resize(weights_->parameters.size());
    const auto result = model_->engine().gradients(weights_->normalization, weights_->parameters, images_.view(),
                                                   labels_.data(), gradients_.data());
    loss_ = result.loss;
  }
  Napi::Value Result(Napi::Env env) override {
    Napi::Object result = Napi::Object::New(env);
    result.Set("loss", loss_);
    result.Set("gradients", copy_out(env, gradients_));
    return result;
  }

  std::shared_ptr<Model> model_;
  WeightsPointer weights_;
  OwnedImages images_;
  std::vector<int32_t> labels_;
  std::vector<float> gradients_;
  double loss_ = 0;
};

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

}  // namespace lenet5::addon
