// What the ranks of a training do together: they begin from rank 0's weights, sum their gradients in each step, and end
// each epoch with what rank 0 found. With one rank all of it is nothing.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "batches.h"
#include "cancellation.h"
#include "collective.h"
#include "engine.h"
#include "evaluation.h"
#include "trainer.h"

namespace lenet5 {

class SharedRun {
 public:
  // `ranks`: null for a training of one's own.
  SharedRun(Collective* ranks, const Cancellation& stop) : ranks_(ranks), stop_(stop) {}

  Share share() const { return ranks_ == nullptr ? Share{} : Share{ranks_->rank(), ranks_->size()}; }
  // Whether this rank evaluates, reports and writes.
  bool first() const { return ranks_ == nullptr || ranks_->rank() == 0; }

  // Each of these gives nothing, or false, where it was stopped.

  // Rank 0's state for all, as torch.nn.parallel.DistributedDataParallel begins with its weights.
  bool begin(TrainingState& state, int64_t num_classes) const;
  void begin_epoch() { communication_ = {}; }
  // One step of Adam on the whole batch, of which `batch` is this rank's part. The loss and the count are the whole's.
  std::optional<StepResult> step(Training& training, const Batch& batch, const AdamOptions& options);
  // Spent in sums since begin_epoch(); nothing where there are no other ranks.
  std::optional<double> communication_seconds() const {
    return ranks_ == nullptr ? std::nullopt : std::optional<double>(communication_.count());
  }
  // Rank 0's evaluation for all. Throws DISTRIBUTED_MISMATCH where the weights have drifted apart.
  bool end_epoch(const std::vector<float>& parameters, std::optional<Evaluation>& validation, int64_t num_classes,
                 bool validated) const;

 private:
  bool all_have(void* bytes, size_t count) const;

  Collective* ranks_;
  const Cancellation& stop_;
  std::chrono::duration<double> communication_{};
};

}  // namespace lenet5
