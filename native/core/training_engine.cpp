#include "training_engine.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

namespace lenet5 {

namespace {

std::vector<float> to_vector(const torch::Tensor& tensor) {
  torch::Tensor cpu = tensor.detach().to(torch::kCPU).contiguous();
  return {cpu.data_ptr<float>(), cpu.data_ptr<float>() + cpu.numel()};
}

torch::Tensor to_flat(const std::vector<float>& values, const torch::Device& device) {
  return torch::from_blob(const_cast<float*>(values.data()), {static_cast<int64_t>(values.size())}).clone().to(device);
}

class FusedTraining : public TrainingEngine {
 public:
  FusedTraining(const Placement& placement, const Normalization& normalization, const OptimizerState& start)
      : length_(parameter_length(placement.num_classes)),
        trainer_(static_cast<int>(placement.num_classes), static_cast<float>(normalization.mean),
                 static_cast<float>(normalization.std), placement.instruction_set) {
    trainer_.import_state(start.parameters.data(), start.exp_avg.empty() ? nullptr : start.exp_avg.data(),
                          start.exp_avg_sq.empty() ? nullptr : start.exp_avg_sq.data(), start.step);
  }

  StepResult step(const ImageSet& data, const int64_t* indices, int64_t count, const AdamOptions& options) override {
    return trainer_.step(data.images.data(), data.size, data.labels.data(), indices, count, options);
  }

  OptimizerState state() const override {
    OptimizerState state;
    state.parameters.resize(length_);
    state.exp_avg.resize(length_);
    state.exp_avg_sq.resize(length_);
    trainer_.export_state(state.parameters.data(), state.exp_avg.data(), state.exp_avg_sq.data(), &state.step);
    return state;
  }

 private:
  int64_t length_;
  kernels::Trainer trainer_;
};

// Leaf tensors over one flat buffer with their gradients over another, so that autograd accumulates in place and Adam
// is a handful of operations on two vectors.
class Leaves {
 public:
  Leaves(torch::Tensor flat, int64_t num_classes)
      : flat_(std::move(flat)), gradient_(torch::zeros_like(flat_)), leaves_(parameter_views(flat_, num_classes)) {
    const auto gradients = parameter_views(gradient_, num_classes);
    for (size_t i = 0; i < leaves_.size(); i++) {
      leaves_[i].requires_grad_(true);
      leaves_[i].mutable_grad() = gradients[i];
    }
  }

  StepResult backward(const Normalization& normalization, const torch::Tensor& images, const torch::Tensor& labels) {
    torch::AutoGradMode grad(true);
    gradient_.zero_();
    torch::Tensor scores = forward(leaves_, normalization, images);
    torch::Tensor loss = torch::nll_loss(scores, labels);
    loss.backward();
    const auto correct = scores.detach().argmax(1).eq(labels).sum().item<int64_t>();
    return {loss.item<double>(), correct};
  }

  torch::Tensor& flat() { return flat_; }
  const torch::Tensor& flat() const { return flat_; }
  const torch::Tensor& gradient() const { return gradient_; }

 private:
  torch::Tensor flat_, gradient_;
  std::vector<torch::Tensor> leaves_;
};

torch::Tensor label_tensor(const int32_t* labels, const int64_t* indices, int64_t count, const torch::Device& device) {
  torch::Tensor result = torch::empty({count}, torch::kInt64);
  auto* out = result.data_ptr<int64_t>();
  for (int64_t i = 0; i < count; i++) out[i] = labels[indices == nullptr ? i : indices[i]];
  return result.to(device);
}

class LibtorchTraining : public TrainingEngine {
 public:
  LibtorchTraining(const Placement& placement, const Normalization& normalization, const OptimizerState& start)
      : device_(placement.device),
        normalization_(normalization),
        leaves_(to_flat(start.parameters, device_), placement.num_classes),
        exp_avg_(start.exp_avg.empty() ? torch::zeros_like(leaves_.flat()) : to_flat(start.exp_avg, device_)),
        exp_avg_sq_(start.exp_avg_sq.empty() ? torch::zeros_like(leaves_.flat()) : to_flat(start.exp_avg_sq, device_)),
        step_(start.step) {}

  StepResult step(const ImageSet& data, const int64_t* indices, int64_t count, const AdamOptions& options) override {
    const StepResult result =
        leaves_.backward(normalization_, gather(data.images.data(), data.size, indices, count, device_),
                         label_tensor(data.labels.data(), indices, count, device_));
    adam(options);
    return result;
  }

  OptimizerState state() const override {
    return {to_vector(leaves_.flat()), to_vector(exp_avg_), to_vector(exp_avg_sq_), step_};
  }

 private:
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
  Leaves leaves_;
  torch::Tensor exp_avg_, exp_avg_sq_;
  int64_t step_;
};

}  // namespace

std::unique_ptr<TrainingEngine> make_training_engine(const Placement& placement, const Normalization& normalization,
                                                     const OptimizerState& start) {
  if (placement.engine == EngineKind::fused) return std::make_unique<FusedTraining>(placement, normalization, start);
  return std::make_unique<LibtorchTraining>(placement, normalization, start);
}

StepResult batch_gradients(const Placement& placement, const Normalization& normalization,
                           const std::vector<float>& parameters, const Images& images, const int32_t* labels,
                           float* gradients) {
  if (placement.engine == EngineKind::fused) {
    kernels::Trainer trainer(static_cast<int>(placement.num_classes), static_cast<float>(normalization.mean),
                             static_cast<float>(normalization.std), placement.instruction_set);
    trainer.import_state(parameters.data(), nullptr, nullptr, 0);
    return trainer.gradients(images, labels, gradients);
  }
  Leaves leaves(to_flat(parameters, placement.device), placement.num_classes);
  const StepResult result = leaves.backward(normalization, to_tensor(images, placement.device),
                                            label_tensor(labels, nullptr, images.count, placement.device));
  const auto values = to_vector(leaves.gradient());
  std::copy(values.begin(), values.end(), gradients);
  return result;
}

}  // namespace lenet5
