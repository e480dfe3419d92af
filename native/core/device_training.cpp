#include "device_training.h"

#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/script.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "device_graph.h"
#include "lenet5_tensors.h"
#include "libtorch_threads.h"

namespace lenet5 {

namespace {

// Steps of the usual size that are launched operator by operator before one is recorded: in the first, libtorch's
// libraries are initialised and choose their ways, which cannot be recorded.
constexpr int kStepsBeforeGraph = 3;

// libtorch has so many streams for a device, which it hands out in turn.
constexpr int kStreamsOfPool = 32;

struct StreamsInUse {
  std::mutex mutex;
  std::vector<c10::Stream> streams;
};

StreamsInUse& streams_in_use() {
  static auto* const in_use = new StreamsInUse;
  return *in_use;
}

// A training's stream; none on the CPU.
//
// The problem: what is launched on a stream that records does not run, whoever launches it. The resolution: no two
// trainings have the same one as long as they live. Where libtorch's are all in use it is the device's default stream,
// on which nothing can be recorded.
class TrainingStream {
 public:
  explicit TrainingStream(const c10::Device& device) {
    if (!device.is_cuda()) return;
    const c10::impl::VirtualGuardImpl cuda(device.type());
    const std::lock_guard<std::mutex> lock(streams_in_use().mutex);
    std::vector<c10::Stream>& taken = streams_in_use().streams;
    for (int i = 0; i < kStreamsOfPool && !own_; i++) {
      stream_ = cuda.getStreamFromGlobalPool(device);
      own_ = std::find(taken.begin(), taken.end(), *stream_) == taken.end();
    }
    if (own_) {
      taken.push_back(*stream_);
    } else {
      stream_ = cuda.getDefaultStream(device);
    }
  }

  ~TrainingStream() {
    if (!own_) return;
    const std::lock_guard<std::mutex> lock(streams_in_use().mutex);
    std::vector<c10::Stream>& taken = streams_in_use().streams;
    taken.erase(std::find(taken.begin(), taken.end(), *stream_));
  }

  TrainingStream(const TrainingStream&) = delete;
  TrainingStream& operator=(const TrainingStream&) = delete;

  const std::optional<c10::Stream>& get() const { return stream_; }
  // Whether it can record.
  bool own() const { return own_; }
  void synchronize() const {
    if (stream_) stream_->synchronize();
  }

 private:
  std::optional<c10::Stream> stream_;
  bool own_ = false;
};

// The calling thread's operators go to that stream as long as this lives.
class OnStream {
 public:
  explicit OnStream(const TrainingStream& stream) {
    if (stream.get()) guard_.emplace(*stream.get());
  }

 private:
  std::optional<c10::StreamGuard> guard_;
};

// What makes two steps the same work.
struct StepShape {
  int64_t count;
  int size;
  bool kept;  // out of the set that lies on the device, not from the staging
  double beta1, beta2, epsilon, weight_decay;

  bool operator==(const StepShape& other) const {
    const auto all = [](const StepShape& s) {
      return std::make_tuple(s.count, s.size, s.kept, s.beta1, s.beta2, s.epsilon, s.weight_decay);
    };
    return all(*this) == all(other);
  }
};

class DeviceTraining : public Training {
 public:
  DeviceTraining(int64_t num_classes, const c10::Device& device, const Normalization& normalization,
                 const OptimizerState& start, const std::vector<float>& class_weights)
      : device_(device),
        stream_(device),
        graphs_(stream_.own() && has_device_graphs()),
        normalization_(normalization),
        step_(start.step) {
    const OnStream on(stream_);
    flat_ = to_flat(start.parameters, device_);
    gradient_ = torch::zeros_like(flat_);
    leaves_ = gradient_leaves(flat_, gradient_, num_classes);
    exp_avg_ = start.exp_avg.empty() ? torch::zeros_like(flat_) : to_flat(start.exp_avg, device_);
    exp_avg_sq_ = start.exp_avg_sq.empty() ? torch::zeros_like(flat_) : to_flat(start.exp_avg_sq, device_);
    if (!class_weights.empty()) class_weights_ = to_flat(class_weights, device_);
    const auto here = torch::TensorOptions().device(device_);
    totals_ = torch::zeros({3}, here.dtype(torch::kFloat64));
    step_size_ = torch::zeros({}, here.dtype(torch::kFloat32));
    root_correction_ = torch::zeros({}, here.dtype(torch::kFloat32));
    place_ = torch::zeros({1}, here.dtype(torch::kInt64));
  }

  ~DeviceTraining() override {
    try {
      // The graph's memory is its own: it goes when its last launch is done.
      stream_.synchronize();
    } catch (const std::exception&) {
      // The device has failed: there is nobody left to tell.
    }
  }

  void begin_epoch(const ImageSet& set, const std::vector<int64_t>& order) override {
    const OnStream on(stream_);
    if (!tried_to_keep_) keep(set);
    if (kept_images_ != set.images.data()) return;
    order_begin_ = order.data();
    const torch::Tensor host =
        torch::from_blob(const_cast<int64_t*>(order.data()), {static_cast<int64_t>(order.size())}, torch::kInt64);
    // At its place of before: the graph reads it there.
    order_.copy_(on_device(host, device_));
  }

  StepResult step(const Batch& batch, const AdamOptions& options) override {
    use_libtorch_threads();
    const OnStream on(stream_);
    const bool kept = place(batch);
    tell(options);
    launch({batch.count, batch.size, kept, options.beta1, options.beta2, options.epsilon, options.weight_decay});
    return {0, 0, 0};
  }

  int64_t gradient_length() const override { return gradient_.numel(); }

  // The gradients of several ranks are summed in this machine's memory: nothing here is recorded.
  StepResult part(const Batch& batch, float* gradients) override {
    if (batch.count == 0) {
      std::fill_n(gradients, gradient_length(), 0.0F);
      return {0, 0, 0};
    }
    use_libtorch_threads();
    const OnStream on(stream_);
    const bool kept = place(batch);
    backward({batch.count, batch.size, kept, 0, 0, 0, 0}, batch.whole_weight);
    const torch::Tensor host = on_host(gradient_);
    std::copy_n(host.data_ptr<float>(), host.numel(), gradients);
    const StepResult own = settle();
    // The parts' losses add up to the whole's.
    const double loss = batch.whole_weight == 0 ? 0 : own.loss * own.weight / batch.whole_weight;
    return {loss, own.correct, batch.whole_weight};
  }

  void apply(const float* gradients, const AdamOptions& options) override {
    const OnStream on(stream_);
    const torch::Tensor host = torch::from_blob(const_cast<float*>(gradients), {gradient_length()});
    gradient_.copy_(on_device(host, device_));
    tell(options);
    adam({0, 0, false, options.beta1, options.beta2, options.epsilon, options.weight_decay});
  }

  StepResult settle() override {
    const OnStream on(stream_);
    const torch::Tensor totals = totals_.to(torch::kCPU, torch::kFloat64, /*non_blocking=*/false, /*copy=*/true);
    totals_.zero_();
    const double* sums = totals.data_ptr<double>();
    return {sums[1] == 0 ? 0 : sums[0] / sums[1], static_cast<int64_t>(sums[2]), sums[1]};
  }

  OptimizerState state() const override {
    const OnStream on(stream_);
    return {to_vector(flat_), to_vector(exp_avg_), to_vector(exp_avg_sq_), step_};
  }

 private:
  // Copies the set to the device, once. One that does not fit is left where it is, and its batches are staged.
  void keep(const ImageSet& set) {
    tried_to_keep_ = true;
    const int64_t count = set.count();
    try {
      const torch::Tensor images =
          torch::from_blob(const_cast<uint8_t*>(set.images.data()), {count, 1, set.size, set.size}, torch::kUInt8);
      // Not by way of pinned memory: it is as large as the set, and copied once.
      images_ = images.to(device_);
      labels_ = torch::from_blob(const_cast<int32_t*>(set.labels.data()), {count}, torch::kInt32)
                    .to(device_)
                    .to(torch::kInt64);
      order_ = torch::empty({count}, labels_.options());
      kept_images_ = set.images.data();
      kept_count_ = count;
    } catch (const c10::OutOfMemoryError&) {
      images_ = labels_ = order_ = torch::Tensor();
    }
  }

  bool is_kept(const Batch& batch) const {
    if (kept_images_ == nullptr || order_begin_ == nullptr || batch.indices == nullptr) return false;
    const int64_t first = batch.indices - order_begin_;
    return batch.images == kept_images_ && first >= 0 && first + batch.count <= kept_count_;
  }

  // Puts a batch where a step finds it, or finds where it is: true for the set on the device.
  bool place(const Batch& batch) {
    const bool kept = is_kept(batch);
    make_room(batch, kept);
    if (kept) {
      place_.fill_(static_cast<int64_t>(batch.indices - order_begin_));
    } else {
      staged_images_.narrow(0, 0, batch.count).copy_(gathered_images(batch, device_), /*non_blocking=*/true);
      staged_labels_.narrow(0, 0, batch.count)
          .copy_(gathered_labels(batch.labels, batch.indices, batch.count, device_), /*non_blocking=*/true);
    }
    return kept;
  }

  // What changes from step to step in Adam's update.
  void tell(const AdamOptions& options) {
    step_ += 1;
    const auto steps = static_cast<double>(step_);
    step_size_.fill_(-options.learning_rate / (1 - std::pow(options.beta1, steps)));
    root_correction_.fill_(std::sqrt(1 - std::pow(options.beta2, steps)));
  }

  // What a step reads beside the set lies where the graph has seen it. A larger batch than those before gets new
  // places.
  void make_room(const Batch& batch, bool kept) {
    if (kept) {
      if (places_.defined() && places_.size(0) >= batch.count) return;
      places_ = torch::arange(batch.count, labels_.options());
    } else {
      if (staged_labels_.defined() && staged_labels_.size(0) >= batch.count && staged_images_.size(2) == batch.size) {
        return;
      }
      const auto here = torch::TensorOptions().device(device_);
      staged_images_ = torch::empty({batch.count, 1, batch.size, batch.size}, here.dtype(torch::kUInt8));
      staged_labels_ = torch::empty({batch.count}, here.dtype(torch::kInt64));
    }
    if (graph_) stream_.synchronize();
    graph_.reset();
  }

  void launch(const StepShape& shape) {
    if (!usual_) usual_ = shape;
    if (!graphs_ || !(*usual_ == shape)) return compute(shape);
    if (!graph_ && ++launched_ > kStepsBeforeGraph) record(shape);
    if (!graph_) return compute(shape);
    graph_->replay();
  }

  void record(const StepShape& shape) {
    try {
      auto graph = std::make_unique<DeviceGraph>();
      graph->record([&] { compute(shape); });
      graph_ = std::move(graph);
    } catch (const c10::Error& error) {
      do_without(error.what_without_backtrace());
    } catch (const std::exception& error) {
      do_without(error.what());
    }
  }

  // Recording runs nothing: the step is still to be done, by the longer way.
  void do_without(const std::string& problem) {
    graphs_ = false;
    note_graph_problem(problem);
  }

  // One step. Nothing in it waits for the device, nor depends on what this machine's memory holds.
  void compute(const StepShape& shape) {
    backward(shape);
    adam(shape);
  }

  // `whole`: the weight of the batch that this one is a part of.
  void backward(const StepShape& shape, std::optional<double> whole = std::nullopt) {
    torch::Tensor images, labels;
    if (shape.kept) {
      const torch::Tensor rows = order_.index_select(0, places_.narrow(0, 0, shape.count) + place_);
      images = images_.index_select(0, rows);
      labels = labels_.index_select(0, rows);
    } else {
      images = staged_images_.narrow(0, 0, shape.count);
      labels = staged_labels_.narrow(0, 0, shape.count);
    }
    gradient_.zero_();
    const torch::AutoGradMode grad(true);
    const torch::Tensor scores = forward(leaves_, normalization_, images.to(torch::kFloat32).div_(255.0));
    const torch::Tensor sum = at::nll_loss(scores, labels, class_weights_, at::Reduction::Sum);
    // The mean by hand: over weights that are all 0, PyTorch's is NaN.
    torch::Tensor mean;
    if (class_weights_.defined()) {
      const torch::Tensor weight = class_weights_.index_select(0, labels).sum();
      totals_.select(0, 1).add_(weight);
      mean = sum / weight.add(weight.eq(0));
    } else {
      totals_.select(0, 1).add_(static_cast<double>(shape.count));
      mean = sum / static_cast<double>(shape.count);
    }
    if (whole) mean = sum / (*whole == 0 ? 1 : *whole);
    mean.backward();
    totals_.select(0, 0).add_(sum.detach());
    totals_.select(0, 2).add_(scores.detach().argmax(1).eq(labels).sum());
  }

  void adam(const StepShape& shape) {
    const torch::NoGradGuard no_grad;
    torch::Tensor gradient = gradient_;
    if (shape.weight_decay != 0) gradient = gradient.add(flat_, shape.weight_decay);
    exp_avg_.mul_(shape.beta1).add_(gradient, 1 - shape.beta1);
    exp_avg_sq_.mul_(shape.beta2).addcmul_(gradient, gradient, 1 - shape.beta2);
    const torch::Tensor denominator = exp_avg_sq_.sqrt().div_(root_correction_).add_(shape.epsilon);
    flat_.add_(exp_avg_.div(denominator).mul_(step_size_));
  }

  c10::Device device_;
  TrainingStream stream_;
  // Whether steps are recorded: until it fails.
  bool graphs_;
  Normalization normalization_;
  int64_t step_;

  torch::Tensor flat_, gradient_, exp_avg_, exp_avg_sq_, class_weights_;
  Parameters leaves_;
  // Sums since the last settle(): loss times weight, weight, right answers.
  torch::Tensor totals_;
  // What a step is told: minus the corrected learning rate, the root of the second moment's correction, and where in
  // the epoch's order its batch begins.
  torch::Tensor step_size_, root_correction_, place_;

  // The set on the device, the epoch's order, and 0, 1, 2 …
  bool tried_to_keep_ = false;
  const uint8_t* kept_images_ = nullptr;
  const int64_t* order_begin_ = nullptr;
  int64_t kept_count_ = 0;
  torch::Tensor images_, labels_, order_, places_;
  // Where batches from this machine's memory are copied to.
  torch::Tensor staged_images_, staged_labels_;

  std::optional<StepShape> usual_;
  int launched_ = 0;
  std::unique_ptr<DeviceGraph> graph_;
};

}  // namespace

bool trains_on_device(const c10::Device& device) {
  const char* chosen = std::getenv("LENET5_DEVICE_TRAINING");
  return device.is_cuda() || (chosen != nullptr && std::strcmp(chosen, "cpu") == 0 && device.is_cpu());
}

std::unique_ptr<Training> make_device_training(int64_t num_classes, const c10::Device& device,
                                               const Normalization& normalization, const OptimizerState& start,
                                               const std::vector<float>& class_weights) {
  return std::make_unique<DeviceTraining>(num_classes, device, normalization, start, class_weights);
}

}  // namespace lenet5
