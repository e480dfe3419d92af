// The engine over the fused kernels: CPU only, no libtorch.
#include "engines.h"
#include "parameters.h"

namespace lenet5 {

namespace {

class FusedPredictor : public Predictor {
 public:
  FusedPredictor(int64_t num_classes, kernels::InstructionSet set, const Normalization& normalization,
                 const std::vector<float>& parameters)
      : forward_(parameters.data(), static_cast<int>(num_classes), static_cast<float>(normalization.mean),
                 static_cast<float>(normalization.std), set) {}

  void run(const Images& images, const Answers& answers) const override {
    if (!forward_.run(images, answers)) refuse_not_finite(images);
  }

 private:
  kernels::Forward forward_;
};

class FusedTraining : public Training {
 public:
  FusedTraining(int64_t num_classes, kernels::InstructionSet set, const Normalization& normalization,
                const OptimizerState& start, const std::vector<float>& class_weights)
      : length_(static_cast<size_t>(parameter_length(num_classes))),
        trainer_(static_cast<int>(num_classes), static_cast<float>(normalization.mean),
                 static_cast<float>(normalization.std), set) {
    trainer_.import_state(start.parameters.data(), start.exp_avg.empty() ? nullptr : start.exp_avg.data(),
                          start.exp_avg_sq.empty() ? nullptr : start.exp_avg_sq.data(), start.step);
    trainer_.set_class_weights(class_weights);
  }

  StepResult step(const Batch& batch, const AdamOptions& options) override {
    return trainer_.step(batch.images, batch.size, batch.labels, batch.indices, batch.count, options);
  }

  int64_t gradient_length() const override { return trainer_.gradient_length(); }

  StepResult part(const Batch& batch, float* gradients) override {
    return trainer_.part(batch.images, batch.size, batch.labels, batch.indices, batch.count, batch.whole_weight,
                         gradients);
  }

  void apply(const float* gradients, const AdamOptions& options) override { trainer_.apply(gradients, options); }

  OptimizerState state() const override {
    OptimizerState state;
    state.parameters.resize(length_);
    state.exp_avg.resize(length_);
    state.exp_avg_sq.resize(length_);
    trainer_.export_state(state.parameters.data(), state.exp_avg.data(), state.exp_avg_sq.data(), &state.step);
    return state;
  }

 private:
  size_t length_;
  kernels::Trainer trainer_;
};

class FusedEngine : public Engine {
 public:
  FusedEngine(int64_t num_classes, kernels::InstructionSet set) : num_classes_(num_classes), set_(set) {}

  const char* name() const override { return "fused"; }
  std::string device() const override { return "cpu"; }
  const char* instruction_set() const override { return kernels::name(set_); }

  std::shared_ptr<const Predictor> predictor(const Normalization& normalization,
                                             const std::vector<float>& parameters) const override {
    return std::make_shared<FusedPredictor>(num_classes_, set_, normalization, parameters);
  }

  std::unique_ptr<Training> training(const Normalization& normalization, const OptimizerState& start,
                                     const std::vector<float>& class_weights) const override {
    return std::make_unique<FusedTraining>(num_classes_, set_, normalization, start, class_weights);
  }

  StepResult gradients(const Normalization& normalization, const std::vector<float>& parameters, const Images& images,
                       const int32_t* labels, float* gradients) const override {
    kernels::Trainer trainer(static_cast<int>(num_classes_), static_cast<float>(normalization.mean),
                             static_cast<float>(normalization.std), set_);
    trainer.import_state(parameters.data(), nullptr, nullptr, 0);
    return trainer.gradients(images, labels, gradients);
  }

 private:
  int64_t num_classes_;
  kernels::InstructionSet set_;
};

}  // namespace

std::unique_ptr<const Engine> make_fused_engine(int64_t num_classes, kernels::InstructionSet instruction_set) {
  return std::make_unique<FusedEngine>(num_classes, instruction_set);
}

}  // namespace lenet5
