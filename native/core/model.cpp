#include "model.h"

#include <algorithm>
#include <cmath>

#include "device.h"
#include "error.h"

namespace lenet5 {

namespace {

kernels::InstructionSet choose_instruction_set(const std::string& name) {
  const auto supported = kernels::supported_instruction_sets();
  if (name == "auto") return supported.back();
  std::string list;
  for (kernels::InstructionSet set : supported) {
    if (name == kernels::name(set)) return set;
    list += (list.empty() ? "" : ", ") + std::string(kernels::name(set));
  }
  throw Error("ENGINE_UNAVAILABLE", "Expected one of this machine's instruction sets (" + list +
                                        ") for instructionSet but received \"" + name + "\"");
}

Placement place(int64_t num_classes, const std::string& device, const std::string& engine,
                const std::string& instruction_set) {
  Placement placement{num_classes, resolve_device(device)};
  const bool on_cpu = placement.device.is_cpu();
  if (engine == "fused" && !on_cpu) {
    throw Error("ENGINE_UNAVAILABLE",
                "Expected the device cpu for engine \"fused\" but received " + placement.device.str());
  }
  placement.engine = engine == "libtorch" || !on_cpu ? EngineKind::libtorch : EngineKind::fused;
  placement.instruction_set = choose_instruction_set(instruction_set);
  return placement;
}

}  // namespace

Model::Model(int64_t num_classes, const Normalization& normalization, const std::string& device,
             const std::string& engine, const std::string& instruction_set, std::vector<float> parameters)
    : placement_(place(num_classes, device, engine, instruction_set)) {
  replace(normalization, std::move(parameters));
}

std::shared_ptr<const Model::Weights> Model::weights() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return weights_;
}

void Model::replace(const Normalization& normalization, std::vector<float> parameters) {
  auto next = std::make_shared<Weights>();
  next->normalization = normalization;
  next->parameters = std::move(parameters);
  next->predictor = make_predictor(placement_, normalization, next->parameters);
  std::lock_guard<std::mutex> lock(mutex_);
  weights_ = std::move(next);
}

std::shared_ptr<const Predictor> Model::predictor() const { return weights()->predictor; }

std::vector<float> Model::parameters() const { return weights()->parameters; }

void Model::set_parameters(std::vector<float> parameters) { replace(weights()->normalization, std::move(parameters)); }

void Model::set_normalization(const Normalization& normalization) { replace(normalization, parameters()); }

void Model::predict(const Images& images, float* log_probabilities) const {
  check_finite(images);
  predictor()->run(images, log_probabilities);
}

StepResult Model::gradients(const Images& images, const int32_t* labels, float* gradients) const {
  check_finite(images);
  const auto now = weights();
  return batch_gradients(placement_, now->normalization, now->parameters, images, labels, gradients);
}

void Model::fit(const TrainOptions& options, const ImageSet& data, const ImageSet* validation, TrainingState start,
                const std::atomic<bool>& stop, const TrainObserver& observer) {
  const auto now = weights();
  if (start.optimizer.parameters.empty()) start.optimizer.parameters = now->parameters;
  TrainObserver observing = observer;
  observing.weights = [&](const std::vector<float>& parameters) { replace(now->normalization, parameters); };
  train(placement_, now->normalization, options, data, validation, start, stop, observing);
}

std::string Model::to_torchscript(const ExtraFiles& extra_files) const {
  const auto now = weights();
  return export_torchscript(placement_.num_classes, now->normalization, now->parameters, extra_files);
}

double Model::difference_from(const std::string& archive) const {
  const auto now = weights();
  constexpr int64_t kCount = 16;
  double largest = 0;
  for (const int64_t size : {kImageSize, kPaddedSize}) {
    // Any fixed spread over 0..1 will do: the low-discrepancy sequence of the golden ratio.
    std::vector<float> pixels(kCount * size * size);
    for (size_t i = 0; i < pixels.size(); i++) {
      pixels[i] = static_cast<float>(std::fmod(static_cast<double>(i) * 0.6180339887498949, 1.0));
    }
    std::vector<float> own(kCount * placement_.num_classes);
    now->predictor->run({pixels.data(), kernels::PixelType::float32, static_cast<int>(size), kCount}, own.data());
    const std::vector<float> other = run_torchscript(archive, pixels, size, kCount);
    if (other.size() != own.size()) return std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < own.size(); i++) {
      const double difference = std::abs(static_cast<double>(own[i]) - static_cast<double>(other[i]));
      // std::max would drop a NaN.
      if (!(difference <= largest)) largest = difference;
    }
  }
  return largest;
}

}  // namespace lenet5
