// What LeNet5Class does off the event loop, one task a method. A task holds the weights
// it got and the images it copied.
#pragma once

#include <napi.h>

#include <memory>
#include <utility>
#include <vector>

#include "../lenet5/evaluation.h"
#include "../lenet5/model.h"
#include "../lenet5/parameters.h"
#include "async_task.h"
#include "evaluation_js.h"
#include "images.h"
#include "progress_channel.h"
#include "typed_arrays.h"

namespace lenet5::addon {

inline Error aborted() { return Error("ABORTED", "The call was aborted"); }

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
    scores_.resize(static_cast<size_t>(count * classes));
    labels_.resize(static_cast<size_t>(count));
    try {
      answer();
    } catch (const Error& error) {
      // One call's pixels are not to spoil the others' answers.
      if (error.code() != "INVALID_PIXELS") throw;
      refused_ = images_.blank_parts_not_finite();
      if (refused_.empty()) throw;
      answer();
    }
    weights_.reset();
  }
  void answer() {
    const Answers answers{scores_.data(), labels_.data(), log_};
    if (!predict(*weights_, images_.view(), answers, cancellation_.get())) throw aborted();
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

}  // namespace lenet5::addon
