// What an engine is: whoever computes LeNet-5's forward pass, its gradients and its training steps. Two implement it,
// the fused kernels (fused_engine.cpp) and libtorch (core/libtorch_engine.cpp); engines.h chooses.
//
// Parameters cross here as one flat buffer in state-dict order.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "images.h"

namespace lenet5 {

using AdamOptions = kernels::AdamOptions;
using StepResult = kernels::StepResult;
using Answers = kernels::Answers;

// A batch of a uint8 set: image i is images[indices[i]], and its label is labels[indices[i]]; where `indices` is null,
// images[i] and labels[i].
struct Batch {
  const uint8_t* images;
  int size;
  const int32_t* labels;
  const int64_t* indices;
  int64_t count;
  // Of a batch whose images several ranks share, this is one's part; of the whole: its images, and the sum of their
  // weights (1 each, or those of their labels' classes).
  int64_t whole_count;
  double whole_weight;
};

// Weights and optimiser at one moment. Empty moments are those of a fresh optimiser.
struct OptimizerState {
  std::vector<float> parameters, exp_avg, exp_avg_sq;
  int64_t step = 0;
};

// A model's weights at one moment, ready to answer. Immutable, so that any number of threads may ask while a training
// run prepares its successor.
class Predictor {
 public:
  virtual ~Predictor() = default;
  // Throws INVALID_PIXELS for float pixels that are not finite; what was written then is of no use.
  virtual void run(const Images& images, const Answers& answers) const = 0;
};

// A training run's weights and Adam's moments, kept to itself between steps.
class Training {
 public:
  virtual ~Training() = default;
  // Told before an epoch whose batches are `set` in this order (`Batch::indices` points into it), for an engine that
  // keeps both where it computes. They stay until the next call, and the set as long as this.
  virtual void begin_epoch(const ImageSet& /*set*/, const std::vector<int64_t>& /*order*/) {}
  // One step of Adam (Kingma and Ba 2015, as torch.optim.Adam). An engine that does not wait for its device gives a
  // weight of 0, and tells the rest when it is asked to settle.
  virtual StepResult step(const Batch& batch, const AdamOptions& options) = 0;
  // Waits for the steps that have not told theirs: the mean loss, the right answers and the weight of all of them.
  virtual StepResult settle() { return {0, 0, 0}; }
  // The same step in two halves, for a batch that is one's part of a whole. The parts' gradients, in an order of the
  // engine's own, sum up to the whole's; so do the losses and counts of what `part` returns. A part may be empty.
  virtual int64_t gradient_length() const = 0;
  virtual StepResult part(const Batch& batch, float* gradients) = 0;
  virtual void apply(const float* gradients, const AdamOptions& options) = 0;
  virtual OptimizerState state() const = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual const char* name() const = 0;
  // By PyTorch's names, with an index where the kind has one: "cpu", "cuda:0".
  virtual std::string device() const = 0;
  // "none" where the choice is not this package's.
  virtual const char* instruction_set() const = 0;

  virtual std::shared_ptr<const Predictor> predictor(const Normalization& normalization,
                                                     const std::vector<float>& parameters) const = 0;
  // `class_weights`: one a class, as torch.nn.NLLLoss(weight) with its mean, or none. A batch whose weights are all 0
  // has a loss of 0 and gradients of 0.
  virtual std::unique_ptr<Training> training(const Normalization& normalization, const OptimizerState& start,
                                             const std::vector<float>& class_weights) const = 0;
  // The mean loss of a batch and its gradient. The labels have been checked.
  virtual StepResult gradients(const Normalization& normalization, const std::vector<float>& parameters,
                               const Images& images, const int32_t* labels, float* gradients) const = 0;
};

}  // namespace lenet5
