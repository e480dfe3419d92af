#include "shared_run.h"

#include <string>
#include <type_traits>
#include <utility>

#include "crc32.h"
#include "error.h"
#include "parameters.h"

namespace lenet5 {

namespace {

// Behind the gradients in the buffer: the loss and the number of right answers. Whole numbers up to 2^24 are exact.
constexpr int64_t kFigures = 2;

// The numbers of a state that say how long its parts are, and those that are no parts.
struct Head {
  int64_t moments, step, epoch, generator, best_epoch, waited, best_parameters, early;
  double best_value;
};
static_assert(std::is_trivially_copyable_v<Head>);

// The longest state of PyTorch's generator is some 5,056 bytes.
constexpr int64_t kLargestGenerator = 1 << 20;

void check_head(const Head& head, int64_t length) {
  const auto is_one_of = [](int64_t value, int64_t other) { return value == 0 || value == other; };
  if (is_one_of(head.moments, length) && is_one_of(head.best_parameters, length) && head.generator >= 0 &&
      head.generator <= kLargestGenerator) {
    return;
  }
  throw Error("DISTRIBUTED_FAILED", "Expected a training's state from rank 0 but received something else");
}

template <typename T>
void resize(std::vector<T>& values, int64_t length) {
  values.resize(static_cast<size_t>(length));
}

}  // namespace

bool SharedRun::all_have(void* bytes, size_t count) const {
  return count == 0 || ranks_->broadcast(bytes, static_cast<int64_t>(count), stop_);
}

bool SharedRun::begin(TrainingState& state, int64_t num_classes) const {
  if (ranks_ == nullptr || ranks_->size() == 1) return true;
  const int64_t length = parameter_length(num_classes);
  const auto size_of = [](const auto& values) { return static_cast<int64_t>(values.size()); };
  EarlyStoppingRecord early = state.early_stop.value_or(EarlyStoppingRecord{});
  OptimizerState& optimizer = state.optimizer;
  Head head{size_of(optimizer.exp_avg), optimizer.step,           state.epoch,
            size_of(state.generator),   early.best_epoch,         early.waited,
            size_of(early.parameters),  state.early_stop ? 1 : 0, early.best_value};
  if (!all_have(&head, sizeof head)) return false;
  check_head(head, length);
  resize(optimizer.parameters, length);
  resize(optimizer.exp_avg, head.moments);
  resize(optimizer.exp_avg_sq, head.moments);
  resize(state.generator, head.generator);
  resize(early.parameters, head.best_parameters);
  for (auto* values : {&optimizer.parameters, &optimizer.exp_avg, &optimizer.exp_avg_sq, &early.parameters}) {
    if (!all_have(values->data(), values->size() * sizeof(float))) return false;
  }
  if (!all_have(state.generator.data(), state.generator.size())) return false;
  optimizer.step = head.step;
  state.epoch = head.epoch;
  state.early_stop.reset();
  if (head.early != 0) {
    early.best_epoch = head.best_epoch;
    early.waited = head.waited;
    early.best_value = head.best_value;
    state.early_stop = std::move(early);
  }
  return true;
}

std::optional<StepResult> SharedRun::step(Training& training, const Batch& batch, const AdamOptions& options) {
  if (ranks_ == nullptr || ranks_->size() == 1) return training.step(batch, options);
  const int64_t length = training.gradient_length();
  float* sums = ranks_->buffer(length + kFigures);
  const StepResult part = training.part(batch, sums);
  sums[length] = static_cast<float>(part.loss);
  sums[length + 1] = static_cast<float>(part.correct);
  const auto begin = std::chrono::steady_clock::now();
  if (!ranks_->sum(length + kFigures, stop_)) return std::nullopt;
  communication_ += std::chrono::steady_clock::now() - begin;
  training.apply(sums, options);
  return StepResult{static_cast<double>(sums[length]), static_cast<int64_t>(sums[length + 1]), batch.whole_weight};
}

bool SharedRun::end_epoch(const std::vector<float>& parameters, std::optional<Evaluation>& validation,
                          int64_t num_classes, bool validated) const {
  if (ranks_ == nullptr || ranks_->size() == 1) return true;
  const uint32_t own = crc32(parameters.data(), parameters.size() * sizeof(float));
  uint32_t theirs = own;
  if (!all_have(&theirs, sizeof theirs)) return false;
  if (theirs != own) {
    throw Error("DISTRIBUTED_MISMATCH",
                "Expected the weights of rank 0 at the end of an epoch but received others on rank " +
                    std::to_string(ranks_->rank()) + ": do all ranks run on processors with the same instructions?");
  }
  if (!validated) return true;
  if (!validation) validation.emplace();
  if (!all_have(&validation->loss, sizeof validation->loss)) return false;
  for (auto* counts : {&validation->actual, &validation->predicted, &validation->right}) {
    resize(*counts, num_classes);
    if (!all_have(counts->data(), counts->size() * sizeof(uint32_t))) return false;
  }
  return true;
}

}  // namespace lenet5
