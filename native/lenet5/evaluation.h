// A model over a labelled set: mean negative log-likelihood, and what it answered, counted by class.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "cancellation.h"
#include "engine.h"

namespace lenet5 {

// The matrix grows with the square of the classes (10,000 of them: 400 MB), so more than these have none.
constexpr int64_t kMaxConfusionClasses = 1000;

// Numbers of images.
struct Evaluation {
  double loss = 0;
  // By class: of it, taken for it, and both.
  std::vector<uint32_t> actual, predicted, right;
  std::vector<uint32_t> confusion;  // classes × classes, [actual][predicted]; empty above kMaxConfusionClasses

  // The share of right answers.
  double accuracy() const;
};

// `batch` images at a time; `progress` is told how many are done. Nothing where it was cancelled. The set has been
// checked.
std::optional<Evaluation> evaluate(const Predictor& predictor, int64_t num_classes, const ImageSet& set, int64_t batch,
                                   const Cancellation* cancellation,
                                   const std::function<void(int64_t done)>& progress = nullptr);

}  // namespace lenet5
