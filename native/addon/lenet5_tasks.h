// What LeNet5Class does off the event loop, one task a method. A task holds the model it got and the images it copied.
#pragma once

#include <napi.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../core/model.h"
#include "async_task.h"
#include "images.h"
#include "typed_arrays.h"

namespace lenet5::addon {

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

}  // namespace lenet5::addon
