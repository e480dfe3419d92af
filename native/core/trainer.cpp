#include "trainer.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

namespace lenet5 {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// The order of an epoch's images; its state goes into checkpoints, so that a resumed run shuffles on as the
// uninterrupted one would have.
class Shuffler {
 public:
  Shuffler(uint64_t seed, const std::vector<uint8_t>& state) : generator_(at::detail::createCPUGenerator(seed)) {
    if (state.empty()) return;
    torch::Tensor bytes = torch::empty({static_cast<int64_t>(state.size())}, torch::kUInt8);
    std::memcpy(bytes.data_ptr<uint8_t>(), state.data(), state.size());
    generator_.set_state(bytes);
  }

  torch::Tensor order(int64_t count) { return torch::randperm(count, generator_, torch::kInt64); }

  std::vector<uint8_t> state() const {
    torch::Tensor bytes = generator_.get_state();
    return {bytes.data_ptr<uint8_t>(), bytes.data_ptr<uint8_t>() + bytes.numel()};
  }

 private:
  at::Generator generator_;
};

double cosine(double start, double end, double share) { return end + (start - end) / 2 * (std::cos(M_PI * share) + 1); }

}  // namespace

double learning_rate(Schedule schedule, double peak, int64_t step, int64_t total) {
  if (schedule == Schedule::constant) return peak;
  const double initial = peak / 25;
  const double final = initial / 1e4;
  const double turn = 0.3 * static_cast<double>(total) - 1;
  const double end = static_cast<double>(total) - 1;
  const auto at = static_cast<double>(step);
  if (at <= turn) return turn <= 0 ? peak : cosine(initial, peak, at / turn);
  return end <= turn ? peak : cosine(peak, final, (at - turn) / (end - turn));
}

void train(const Placement& placement, const Normalization& normalization, const TrainOptions& options,
           const ImageSet& data, const ImageSet* validation, const TrainingState& start, const std::atomic<bool>& stop,
           const TrainObserver& observer) {
  // A thread of ours starts with OpenMP's own default; libtorch's count has to be taken over.
  at::init_num_threads();
  const auto engine = make_training_engine(placement, normalization, start.optimizer);
  Shuffler shuffler(options.seed, start.generator);
  const int64_t count = data.count();
  const int64_t steps = (count + options.batch_size - 1) / options.batch_size;
  const int64_t total = steps * options.epochs;

  for (int64_t epoch = start.epoch; epoch < options.epochs; epoch++) {
    const torch::Tensor order = shuffler.order(count);
    const auto* indices = order.data_ptr<int64_t>();
    const auto begin = Clock::now();
    auto told = begin;
    double loss_sum = 0;
    int64_t correct = 0;
    AdamOptions adam = options.adam;
    for (int64_t step = 0; step < steps; step++) {
      if (stop.load(std::memory_order_relaxed)) {
        observer.weights(engine->state().parameters);
        return;
      }
      const int64_t first = step * options.batch_size;
      const int64_t size = std::min(options.batch_size, count - first);
      adam.learning_rate = learning_rate(options.schedule, options.adam.learning_rate, epoch * steps + step, total);
      const StepResult result = engine->step(data, indices + first, size, adam);
      loss_sum += result.loss * static_cast<double>(size);
      correct += result.correct;
      if (std::chrono::duration<double>(Clock::now() - told).count() >= options.progress_seconds) {
        told = Clock::now();
        observer.progress(
            {epoch + 1, step + 1, steps, result.loss, static_cast<double>(first + size) / seconds_since(begin)});
      }
    }
    const double seconds = seconds_since(begin);
    OptimizerState state = engine->state();
    observer.weights(state.parameters);
    EpochResult result{epoch + 1,
                       loss_sum / static_cast<double>(count),
                       static_cast<double>(correct) / static_cast<double>(count),
                       seconds,
                       static_cast<double>(count) / seconds,
                       adam.learning_rate,
                       std::nullopt,
                       nullptr};
    if (validation != nullptr) {
      const auto predictor = make_predictor(placement, normalization, state.parameters);
      const Evaluation seen =
          evaluate(*predictor, placement.num_classes, validation->view(), validation->labels.data(), 1000);
      double right = 0;
      for (int64_t i = 0; i < placement.num_classes; i++) right += seen.confusion[i * (placement.num_classes + 1)];
      result.validation = {seen.loss, right / static_cast<double>(validation->count())};
    }
    if (options.snapshots) {
      result.state = std::make_shared<TrainingState>(TrainingState{std::move(state), epoch + 1, shuffler.state()});
    }
    observer.epoch(result);
  }
}

}  // namespace lenet5
