#include "early_stopping.h"

#include <cmath>
#include <utility>

namespace lenet5 {

EarlyStopping::EarlyStopping(const EarlyStoppingOptions& options, EarlyStoppingRecord record)
    : options_(options), record_(std::move(record)) {}

void EarlyStopping::note(int64_t epoch, double loss, double accuracy, const std::vector<float>& parameters) {
  const double value = options_.metric == Metric::loss ? loss : accuracy;
  const double gain = options_.metric == Metric::loss ? record_.best_value - value : value - record_.best_value;
  const bool first = record_.best_epoch == 0 && std::isfinite(value);
  if (!first && !(record_.best_epoch > 0 && gain > options_.min_delta)) {
    record_.waited++;
    return;
  }
  record_ = {epoch, value, 0, parameters};
}

}  // namespace lenet5
