#include "evaluation.h"

#include <algorithm>
#include <numeric>

namespace lenet5 {

double Evaluation::accuracy() const {
  return std::accumulate(right.begin(), right.end(), 0.0) / std::accumulate(actual.begin(), actual.end(), 0.0);
}

std::optional<Evaluation> evaluate(const Predictor& predictor, int64_t num_classes, const ImageSet& set, int64_t batch,
                                   const Cancellation* cancellation,
                                   const std::function<void(int64_t done)>& progress) {
  const Images images = set.view();
  Evaluation result;
  for (auto* counts : {&result.actual, &result.predicted, &result.right}) {
    counts->resize(static_cast<size_t>(num_classes));
  }
  const bool square = num_classes <= kMaxConfusionClasses;
  if (square) result.confusion.resize(static_cast<size_t>(num_classes * num_classes));
  const auto most = static_cast<size_t>(std::min(batch, images.count));
  std::vector<float> scores(most * static_cast<size_t>(num_classes));
  std::vector<int32_t> labels(most);
  for (int64_t start = 0; start < images.count; start += batch) {
    if (cancelled(cancellation)) return std::nullopt;
    const int64_t count = std::min(batch, images.count - start);
    predictor.run(part_of(images, start, count), {scores.data(), labels.data(), true});
    for (int64_t i = 0; i < count; i++) {
      const float* row = scores.data() + i * num_classes;
      const auto actual = static_cast<size_t>(set.labels[static_cast<size_t>(start + i)]);
      const auto predicted = static_cast<size_t>(labels[static_cast<size_t>(i)]);
      result.loss -= static_cast<double>(row[actual]);
      result.actual[actual]++;
      result.predicted[predicted]++;
      if (actual == predicted) result.right[actual]++;
      if (square) result.confusion[actual * static_cast<size_t>(num_classes) + predicted]++;
    }
    if (progress) progress(start + count);
  }
  result.loss /= static_cast<double>(std::max<int64_t>(images.count, 1));
  return result;
}

}  // namespace lenet5
