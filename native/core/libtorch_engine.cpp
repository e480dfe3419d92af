#include "libtorch_engine.h"

#include <torch/script.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "../lenet5/engines.h"
#include "../lenet5/error.h"
#include "device.h"
#include "device_training.h"
#include "lenet5_tensors.h"
#include "libtorch_threads.h"

namespace lenet5 {

namespace {

torch::Tensor to_unit_range(const torch::Tensor& bytes, const torch::Device& device) {
  return on_device(bytes, device).to(torch::kFloat32).div_(255.0);
}

// [count, 1, size, size], float32 in 0..1, on the device.
torch::Tensor image_tensor(const Images& images, const torch::Device& device) {
  const bool bytes = images.type == kernels::PixelType::uint8;
  torch::Tensor raw = torch::from_blob(const_cast<void*>(images.pixels), {images.count, 1, images.size, images.size},
                                       bytes ? torch::kUInt8 : torch::kFloat32);
  return bytes ? to_unit_range(raw, device) : on_device(raw, device);
}

torch::Tensor image_tensor(const Batch& batch, const torch::Device& device) {
  return to_unit_range(gathered_images(batch, device), device);
}

torch::Tensor label_tensor(const int32_t* labels, const int64_t* indices, int64_t count, const torch::Device& device) {
  return on_device(gathered_labels(labels, indices, count, device), device);
}

// Up to here one thread is as fast as two: the operators are too small to be shared.
constexpr int64_t kOneThread = 2;

class LibtorchPredictor : public Predictor {
 public:
  LibtorchPredictor(int64_t num_classes, const torch::Device& device, const Normalization& normalization,
                    const std::vector<float>& parameters)
      : device_(device), normalization_(normalization) {
    const OneLibtorchThread one;
    const Parameters p = parameter_views(to_flat(parameters, device), num_classes);
    // c5's filter covers the whole of its input: a matrix, like the dense layers' weights.
    c1_ = {p[0], p[1]};
    c3_ = {p[2], p[3]};
    c5_ = {p[4].view({p[4].size(0), -1}).t(), p[5]};
    f6_ = {p[6].t(), p[7]};
    output_ = {p[8].t(), p[9]};
  }

  void run(const Images& images, const Answers& answers) const override {
    check_finite(images);
    use_libtorch_threads();
    std::optional<OneLibtorchThread> one;
    if (images.count <= kOneThread) one.emplace();
    const c10::InferenceMode inference;
    torch::Tensor x = image_tensor(images, device_);
    if (images.size == kImageSize) x = at::constant_pad_nd(x, {2, 2, 2, 2}, 0);
    // As the exported file has it: folded into c1 it would be rounded otherwise.
    x = (x - normalization_.mean).div_(normalization_.std);
    x = at::max_pool2d(at::conv2d(x, c1_.weight, c1_.bias).relu_(), {2, 2});
    x = at::max_pool2d(at::conv2d(x, c3_.weight, c3_.bias).relu_(), {2, 2});
    x = at::addmm(c5_.bias, x.flatten(1), c5_.weight).relu_();
    x = at::addmm(f6_.bias, x, f6_.weight).relu_();
    x = on_host(at::log_softmax(at::addmm(output_.bias, x, output_.weight), 1));
    const int64_t classes = x.size(1);
    for (int64_t i = 0; answers.labels != nullptr && i < images.count; i++) {
      const float* row = x.data_ptr<float>() + i * classes;
      answers.labels[i] = static_cast<int32_t>(std::max_element(row, row + classes) - row);
    }
    if (!answers.log) x.exp_();
    std::copy_n(x.data_ptr<float>(), x.numel(), answers.scores);
  }

 private:
  struct Layer {
    torch::Tensor weight, bias;
  };

  torch::Device device_;
  Normalization normalization_;
  Layer c1_, c3_, c5_, f6_, output_;
};

class Leaves {
 public:
  Leaves(torch::Tensor flat, int64_t num_classes)
      : flat_(std::move(flat)),
        gradient_(torch::zeros_like(flat_)),
        leaves_(gradient_leaves(flat_, gradient_, num_classes)) {}

  // `weights`: of the classes, or undefined. `total`: the weight of the batch that these images are a part of.
  // `further`: adds to the gradient that is there.
  StepResult backward(const Normalization& normalization, const torch::Tensor& weights, const torch::Tensor& images,
                      const torch::Tensor& labels, std::optional<double> total = std::nullopt, bool further = false) {
    torch::AutoGradMode grad(true);
    if (!further) gradient_.zero_();
    torch::Tensor scores = forward(leaves_, normalization, images);
    const auto correct = scores.detach().argmax(1).eq(labels).sum().item<int64_t>();
    const double weight = total               ? *total
                          : weights.defined() ? weights.index_select(0, labels).sum().item<double>()
                                              : static_cast<double>(labels.size(0));
    // A mean over nothing: PyTorch's is NaN.
    if (weight == 0) return {0, correct, 0};
    const torch::Tensor loss = total ? at::nll_loss(scores, labels, weights, at::Reduction::Sum) / *total
                                     : at::nll_loss(scores, labels, weights);
    loss.backward();
    return {loss.item<double>(), correct, weight};
  }

  torch::Tensor& flat() { return flat_; }
  const torch::Tensor& flat() const { return flat_; }
  const torch::Tensor& gradient() const { return gradient_; }
  void take_gradient(const float* values) {
    gradient_.copy_(torch::from_blob(const_cast<float*>(values), {gradient_.numel()}));
  }

 private:
  torch::Tensor flat_, gradient_;
  Parameters leaves_;
};

class LibtorchTraining : public Training {
  static constexpr int64_t kPiece = 4096;  // images

 public:
  LibtorchTraining(int64_t num_classes, const torch::Device& device, const Normalization& normalization,
                   const OptimizerState& start, const std::vector<float>& class_weights)
      : device_(device),
        normalization_(normalization),
        class_weights_(class_weights.empty() ? torch::Tensor() : to_flat(class_weights, device)),
        leaves_(to_flat(start.parameters, device), num_classes),
        exp_avg_(moment(start.exp_avg)),
        exp_avg_sq_(moment(start.exp_avg_sq)),
        step_(start.step) {}

  StepResult step(const Batch& batch, const AdamOptions& options) override {
    use_libtorch_threads();
    const StepResult result = backward(batch, std::nullopt);
    adam(options);
    return result;
  }

  int64_t gradient_length() const override { return leaves_.gradient().numel(); }

  StepResult part(const Batch& batch, float* gradients) override {
    if (batch.count == 0) {
      std::fill_n(gradients, gradient_length(), 0.0F);
      return {0, 0, 0};
    }
    use_libtorch_threads();
    const StepResult result = backward(batch, batch.whole_weight);
    torch::from_blob(gradients, {gradient_length()}).copy_(leaves_.gradient());
    return result;
  }

  void apply(const float* gradients, const AdamOptions& options) override {
    torch::NoGradGuard no_grad;
    leaves_.take_gradient(gradients);
    adam(options);
  }

  OptimizerState state() const override {
    return {to_vector(leaves_.flat()), to_vector(exp_avg_), to_vector(exp_avg_sq_), step_};
  }

 private:
  // A large batch in pieces: for the way back autograd keeps 80 KB an image.
  StepResult backward(const Batch& batch, std::optional<double> total) {
    if (batch.count > kPiece) total = batch.whole_weight;
    StepResult sum{0, 0, 0};
    for (int64_t first = 0; first < batch.count; first += kPiece) {
      Batch piece = batch;
      piece.count = std::min(kPiece, batch.count - first);
      if (batch.indices != nullptr) {
        piece.indices += first;
      } else {
        piece.images += first * batch.size * batch.size;
        piece.labels += first;
      }
      const StepResult part =
          leaves_.backward(normalization_, class_weights_, image_tensor(piece, device_),
                           label_tensor(piece.labels, piece.indices, piece.count, device_), total, first > 0);
      sum = {sum.loss + part.loss, sum.correct + part.correct, part.weight};
    }
    return sum;
  }

  torch::Tensor moment(const std::vector<float>& values) const {
    return values.empty() ? torch::zeros_like(leaves_.flat()) : to_flat(values, device_);
  }

  void adam(const AdamOptions& options) {
    torch::NoGradGuard no_grad;
    step_ += 1;
    torch::Tensor gradient = leaves_.gradient();
    if (options.weight_decay != 0) gradient = gradient.add(leaves_.flat(), options.weight_decay);
    exp_avg_.mul_(options.beta1).add_(gradient, 1 - options.beta1);
    exp_avg_sq_.mul_(options.beta2).addcmul_(gradient, gradient, 1 - options.beta2);
    const double correction1 = 1 - std::pow(options.beta1, static_cast<double>(step_));
    const double correction2 = 1 - std::pow(options.beta2, static_cast<double>(step_));
    torch::Tensor denominator = exp_avg_sq_.sqrt().div_(std::sqrt(correction2)).add_(options.epsilon);
    leaves_.flat().addcdiv_(exp_avg_, denominator, -options.learning_rate / correction1);
  }

  torch::Device device_;
  Normalization normalization_;
  torch::Tensor class_weights_;
  Leaves leaves_;
  torch::Tensor exp_avg_, exp_avg_sq_;
  int64_t step_;
};

class TorchEngine : public Engine {
 public:
  TorchEngine(int64_t num_classes, const torch::Device& device) : num_classes_(num_classes), device_(device) {}

  const char* name() const override { return "libtorch"; }
  std::string device() const override { return device_.str(); }
  const char* instruction_set() const override { return "none"; }

  std::shared_ptr<const Predictor> predictor(const Normalization& normalization,
                                             const std::vector<float>& parameters) const override {
    return std::make_shared<LibtorchPredictor>(num_classes_, device_, normalization, parameters);
  }

  std::unique_ptr<Training> training(const Normalization& normalization, const OptimizerState& start,
                                     const std::vector<float>& class_weights) const override {
    if (trains_on_device(device_)) {
      return make_device_training(num_classes_, device_, normalization, start, class_weights);
    }
    return std::make_unique<LibtorchTraining>(num_classes_, device_, normalization, start, class_weights);
  }

  StepResult gradients(const Normalization& normalization, const std::vector<float>& parameters, const Images& images,
                       const int32_t* labels, float* gradients) const override {
    use_libtorch_threads();
    Leaves leaves(to_flat(parameters, device_), num_classes_);
    const StepResult result = leaves.backward(normalization, torch::Tensor(), image_tensor(images, device_),
                                              label_tensor(labels, nullptr, images.count, device_));
    const auto values = to_vector(leaves.gradient());
    std::copy(values.begin(), values.end(), gradients);
    return result;
  }

 private:
  int64_t num_classes_;
  torch::Device device_;
};

std::optional<Error> translate(const std::exception& error, const char* fallback) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  if (torch_error == nullptr) return std::nullopt;
  return Error(fallback, torch_error->what_without_backtrace(), torch_error->what());
}

constexpr LibtorchEngine kEngine{[](const std::string& name) { return resolve_device(name).str(); },
                                 [](int64_t num_classes, const std::string& device) -> std::unique_ptr<const Engine> {
                                   return std::make_unique<TorchEngine>(num_classes, torch::Device(device));
                                 }};

}  // namespace

void plug_in_libtorch_engine() {
  set_error_translator(translate);
  plug_in_libtorch(&kEngine);
}

}  // namespace lenet5
