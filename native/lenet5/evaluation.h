// A model over a labelled set: mean negative log-likelihood and confusion matrix.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "cancellation.h"
#include "engine.h"

namespace lenet5 {

struct Evaluation {
  double loss;
  std::vector<double> confusion;  // classes × classes, [actual][predicted]

  // The share of right answers.
  double accuracy(int64_t num_classes) const;
};

// `batch` images at a time; `progress` is told how many are done. Nothing where it was cancelled. The set has been
// checked.
std::optional<Evaluation> evaluate(const Predictor& predictor, int64_t num_classes, const ImageSet& set, int64_t batch,
                                   const Cancellation* cancellation,
                                   const std::function<void(int64_t done)>& progress = nullptr);

}  // namespace lenet5
