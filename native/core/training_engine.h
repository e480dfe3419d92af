// One training step, by either engine: libtorch's autograd, or the fused kernels. Both keep the weights and Adam's
// moments to themselves during a run and give them out flat, in state-dict order.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "predictor.h"

namespace lenet5 {

using AdamOptions = kernels::AdamOptions;
using StepResult = kernels::StepResult;

// Weights and optimiser at one moment.
struct OptimizerState {
  std::vector<float> parameters, exp_avg, exp_avg_sq;
  int64_t step = 0;
};

// A labelled uint8 set in memory; `size` is 28 or 32.
struct ImageSet {
  std::vector<uint8_t> images;
  std::vector<int32_t> labels;
  int size = 28;

  int64_t count() const { return static_cast<int64_t>(labels.size()); }
  Images view() const { return {images.data(), kernels::PixelType::uint8, size, count()}; }
};

class TrainingEngine {
 public:
  virtual ~TrainingEngine() = default;
  // One step of Adam (Kingma and Ba 2015, as torch.optim.Adam) over the images at `indices`.
  virtual StepResult step(const ImageSet& data, const int64_t* indices, int64_t count, const AdamOptions& options) = 0;
  virtual OptimizerState state() const = 0;
};

std::unique_ptr<TrainingEngine> make_training_engine(const Placement& placement, const Normalization& normalization,
                                                     const OptimizerState& start);

// The mean loss of a batch and its gradient, flat in state-dict order.
StepResult batch_gradients(const Placement& placement, const Normalization& normalization,
                           const std::vector<float>& parameters, const Images& images, const int32_t* labels,
                           float* gradients);

}  // namespace lenet5
