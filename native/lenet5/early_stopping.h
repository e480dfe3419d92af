// Ends a run that no longer gets better, and keeps the best weights it had.
#pragma once

#include <cstdint>
#include <vector>

namespace lenet5 {

enum class Metric { loss, accuracy };

struct EarlyStoppingOptions {
  Metric metric = Metric::loss;  // of the validation set
  int64_t patience = 1;          // epochs without an improvement that end the run
  double min_delta = 0;          // by how much a value must be better to count as an improvement
};

// The record of a run, which is part of its checkpoints.
struct EarlyStoppingRecord {
  int64_t best_epoch = 0;  // 0: none yet
  double best_value = 0;
  int64_t waited = 0;             // epochs since then
  std::vector<float> parameters;  // of the best epoch
};

class EarlyStopping {
 public:
  EarlyStopping(const EarlyStoppingOptions& options, EarlyStoppingRecord record);
  // At the end of an epoch. A value that is not finite is no improvement.
  void note(int64_t epoch, double loss, double accuracy, const std::vector<float>& parameters);
  // True when the run is to end.
  bool over() const { return record_.waited >= options_.patience; }
  const EarlyStoppingRecord& record() const { return record_; }

 private:
  EarlyStoppingOptions options_;
  EarlyStoppingRecord record_;
};

}  // namespace lenet5
