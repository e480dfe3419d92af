#include "evaluation.h"

#include <algorithm>
#include <numeric>

namespace lenet5 {

double Evaluation::accuracy(int64_t num_classes) const {
  double right = 0;
  for (int64_t i = 0; i < num_classes; i++) right += confusion[static_cast<size_t>(i * (num_classes + 1))];
  return right / std::accumulate(confusion.begin(), confusion.end(), 0.0);
}

std::optional<Evaluation> evaluate(const Predictor& predictor, int64_t num_classes, const ImageSet& set, int64_t batch,
                                   const Cancellation* cancellation,
                                   const std::function<void(int64_t done)>& progress) {
  const Images images = set.view();
  Evaluation result{0, std::vector<double>(static_cast<size_t>(num_classes * num_classes), 0)};
  std::vector<float> scores(static_cast<size_t>(std::min(batch, images.count) * num_classes));
  for (int64_t start = 0; start < images.count; start += batch) {
    if (cancelled(cancellation)) return std::nullopt;
    const int64_t count = std::min(batch, images.count - start);
    predictor.run(part_of(images, start, count), scores.data());
    for (int64_t i = 0; i < count; i++) {
      const float* row = scores.data() + i * num_classes;
      const int64_t actual = set.labels[static_cast<size_t>(start + i)];
      const int64_t predicted = std::max_element(row, row + num_classes) - row;
      result.loss -= static_cast<double>(row[actual]);
      result.confusion[static_cast<size_t>(actual * num_classes + predicted)] += 1;
    }
    if (progress) progress(start + count);
  }
  result.loss /= static_cast<double>(std::max<int64_t>(images.count, 1));
  return result;
}

}  // namespace lenet5
