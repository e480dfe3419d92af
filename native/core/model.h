// A LeNet-5 as a whole: its weights, and whoever answers for them. Any number of threads may predict while one trains.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "predictor.h"
#include "torchscript.h"
#include "trainer.h"

namespace lenet5 {

class Model {
 public:
  // `engine`: "auto", "fused" or "libtorch"; `instruction_set`: "auto" or one of the kernels' names.
  // Throws DEVICE_UNAVAILABLE, ENGINE_UNAVAILABLE.
  Model(int64_t num_classes, const Normalization& normalization, const std::string& device, const std::string& engine,
        const std::string& instruction_set, std::vector<float> parameters);

  const Placement& placement() const { return placement_; }
  std::shared_ptr<const Predictor> predictor() const;
  std::vector<float> parameters() const;
  void set_parameters(std::vector<float> parameters);
  void set_normalization(const Normalization& normalization);

  // Throws INVALID_PIXELS for float pixels that are not finite.
  void predict(const Images& images, float* log_probabilities) const;
  StepResult gradients(const Images& images, const int32_t* labels, float* gradients) const;
  // Trains from `start`, or from the model's own weights where `start` holds none; the weights of each whole epoch (and
  // those at an early stop) become the model's.
  void fit(const TrainOptions& options, const ImageSet& data, const ImageSet* validation, TrainingState start,
           const std::atomic<bool>& stop, const TrainObserver& observer);

  std::string to_torchscript(const ExtraFiles& extra_files) const;
  // Largest difference between an archive's log-probabilities and the model's own, on a fixed batch of both sizes.
  double difference_from(const std::string& archive) const;

 private:
  struct Weights {
    Normalization normalization;
    std::vector<float> parameters;
    std::shared_ptr<const Predictor> predictor;
  };
  std::shared_ptr<const Weights> weights() const;
  void replace(const Normalization& normalization, std::vector<float> parameters);

  Placement placement_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Weights> weights_;
};

}  // namespace lenet5
