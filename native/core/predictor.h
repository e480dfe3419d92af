// A model's weights at one moment, ready to answer. Immutable, so that any number of threads may ask while a training
// run prepares its successor.
#pragma once

#include <memory>
#include <vector>

#include "lenet5.h"
#include "pixels.h"

namespace lenet5 {

class Predictor {
 public:
  virtual ~Predictor() = default;
  // Writes count × classes log-probabilities.
  virtual void run(const Images& images, float* log_probabilities) const = 0;
};

enum class EngineKind { fused, libtorch };

// What decides how a model computes.
struct Placement {
  int64_t num_classes;
  torch::Device device = torch::kCPU;
  EngineKind engine = EngineKind::fused;
  kernels::InstructionSet instruction_set = kernels::InstructionSet::baseline;
};

// `parameters`: flat, on the CPU.
std::shared_ptr<const Predictor> make_predictor(const Placement& placement, const Normalization& normalization,
                                                const std::vector<float>& parameters);

struct Evaluation {
  double loss;
  std::vector<double> confusion;  // classes × classes, [actual][predicted]
};

// Mean negative log-likelihood and confusion matrix, `batch` images at a time.
Evaluation evaluate(const Predictor& predictor, int64_t num_classes, const Images& images, const int32_t* labels,
                    int64_t batch);

}  // namespace lenet5
