// The training step.
//
// Problem: after the fused kernels, what is left is moving gradients about: summing those of 60,000 dense weights over
// threads and reading them back for Adam costs as much memory traffic as the step itself. Resolution, in three parallel
// phases:
//
// 1. prepare: the weights as forward and backward read them (Winograd's domain, transposed dense layers).
//
// 2. images: forward and backward of each thread's share of the batch. Only c1's and c3's small gradients are summed
//    for each thread; dense layers leave their activations and their outputs' gradients.
//
// 3. update: each task computes the gradient of some dense weights over the whole batch in registers and applies Adam
//    to them at once.
//
// Phase 3 splits the weights and phase 2's sums are added in the order of the shares, so that the result depends on the
// number of threads alone and never on which of them was faster.
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "aligned.h"
#include "kernel_table.h"
#include "packing.h"
#include "prefetch.h"
#include "subnormals.h"
#include "thread_pool.h"

namespace lenet5::kernels {
namespace {

constexpr int64_t kChunk = 32;  // images of a share whose traces stay in the second cache between forward and backward

struct Share {
  ConvolutionScratch convolution;
  BackwardScratch backward;
  ConvolutionTrace traces[kChunk];
  alignas(64) float features_gradient[kChunk * kFeaturesPadded];
  ConvolutionGradients gradients;
  double loss;
  int64_t correct;
};

struct Batch {
  const void* pixels;
  PixelType type;
  int size;
  const int64_t* indices;  // null: image i of the batch is image i
  int64_t count;

  int64_t image_bytes() const { return int64_t{size} * size * (type == PixelType::uint8 ? 1 : 4); }
  const void* image(int64_t i) const {
    return static_cast<const char*>(pixels) + (indices ? indices[i] : i) * image_bytes();
  }
};

}  // namespace

struct Trainer::Impl {
  const KernelTable& kernels;
  const Layout layout;
  const float mean, std;
  int64_t steps = 0;
  AlignedArray<float> parameters, exp_avg, exp_avg_sq;
  AlignedArray<ConvolutionWeights> convolution;
  AlignedArray<WindowWeights> windows;
  AlignedArray<float> c5_transposed, f6_transposed, output_transposed;
  AlignedArray<float> convolution_gradients;

  // Grown to the largest batch and thread count seen.
  int64_t capacity = 0, shares_capacity = 0;
  AlignedArray<float> features, c5, f6, logits, f6_gradient, c5_gradient;
  AlignedArray<Share> shares;
  std::vector<int32_t> labels;
  std::vector<float> class_weights;  // empty: every image counts alike
  double total_weight = 0;           // of the batch

  Impl(int classes, float mean_, float std_, InstructionSet set)
      : kernels(table(set)),
        layout(classes),
        mean(mean_),
        std(std_),
        parameters(floats(layout.size)),
        exp_avg(floats(layout.size)),
        exp_avg_sq(floats(layout.size)),
        convolution(aligned_array<ConvolutionWeights>(1)),
        windows(aligned_array<WindowWeights>(1)),
        c5_transposed(floats(int64_t{panels(kFeatures)} * kC5 * kPanel)),
        f6_transposed(floats(int64_t{panels(kC5)} * kF6 * kPanel)),
        output_transposed(floats(int64_t{panels(kF6)} * classes * kPanel)),
        convolution_gradients(floats(Layout::convolutions)) {}

  static AlignedArray<float> floats(int64_t count) { return aligned_array<float>(static_cast<size_t>(count)); }

  void reserve(int64_t count, int64_t threads) {
    if (count > capacity) {
      capacity = 0;
      features = floats(count * kFeatures);
      c5 = floats(count * kC5Padded);
      f6 = floats(count * kF6Padded);
      logits = floats(count * layout.padded_classes());
      f6_gradient = floats(count * kF6Padded);
      c5_gradient = floats(count * kC5Padded);
      capacity = count;
    }
    if (threads > shares_capacity) {
      shares_capacity = 0;
      shares = aligned_array<Share>(static_cast<size_t>(threads));
      shares_capacity = threads;
    }
  }

  void prepare() {
    constexpr int c5_panels = panels(kFeatures), f6_panels = panels(kC5), output_panels = panels(kF6);
    const float* p = parameters.get();
    parallel_for(2 + c5_panels + f6_panels + output_panels, [&](int64_t task) {
      const FlushSubnormals flush;
      int i = static_cast<int>(task) - 2;
      if (task == 0) return kernels.prepare(p, mean, std, convolution.get());
      if (task == 1) return kernels.prepare_windows(p, windows.get());
      if (i < c5_panels) {
        return kernels.transpose(p + Layout::c5_weight, kFeatures, kC5, c5_transposed.get(), i, i + 1);
      }
      if ((i -= c5_panels) < f6_panels) {
        return kernels.transpose(p + Layout::f6_weight, kC5, kF6, f6_transposed.get(), i, i + 1);
      }
      i -= f6_panels;
      kernels.transpose(p + Layout::output_weight, kF6, layout.classes, output_transposed.get(), i, i + 1);
    });
  }

  // Forward and backward of images `first` … `first + n`, all activations but s2 kept.
  void chunk(const Batch& batch, int64_t first, int64_t n, Share& share) {
    const float* p = parameters.get();
    float* x = features.get() + first * kFeatures;
    float* h5 = c5.get() + first * kC5Padded;
    float* h6 = f6.get() + first * kF6Padded;
    const int64_t classes = layout.padded_classes();
    float* y = logits.get() + first * classes;
    for (int64_t i = 0; i < n; ++i) {
      // A batch's images lie anywhere in the set.
      if (first + i + 1 < batch.count) prefetch(batch.image(first + i + 1), batch.image_bytes());
      kernels.convolve(convolution[0], batch.image(first + i), batch.type, batch.size, share.convolution,
                       x + i * kFeatures, &share.traces[i]);
    }
    kernels.dense(x, kFeatures, kFeatures, p + Layout::c5_weight, p + Layout::c5_bias, kC5, h5, kC5Padded, n, true);
    kernels.dense(h5, kC5Padded, kC5, p + Layout::f6_weight, p + Layout::f6_bias, kF6, h6, kF6Padded, n, true);
    kernels.dense(h6, kF6Padded, kF6, p + Layout::output_weight, p + layout.output_bias, layout.classes, y, classes, n,
                  false);
    kernels.loss(y, classes, layout.classes, labels.data() + first, n, total_weight,
                 class_weights.empty() ? nullptr : class_weights.data(), &share.loss, &share.correct);

    float* g6 = f6_gradient.get() + first * kF6Padded;
    float* g5 = c5_gradient.get() + first * kC5Padded;
    kernels.dense(y, classes, layout.classes, output_transposed.get(), nullptr, kF6, g6, kF6Padded, n, false);
    kernels.close(g6, h6, n * kF6Padded);
    kernels.dense(g6, kF6Padded, kF6, f6_transposed.get(), nullptr, kC5, g5, kC5Padded, n, false);
    kernels.close(g5, h5, n * kC5Padded);
    kernels.dense(g5, kC5Padded, kC5, c5_transposed.get(), nullptr, kFeatures, share.features_gradient, kFeaturesPadded,
                  n, false);
    for (int64_t i = 0; i < n; ++i) {
      kernels.convolve_backward(windows[0], batch.image(first + i), batch.type, batch.size, share.traces[i],
                                x + i * kFeatures, share.features_gradient + i * kFeaturesPadded, share.backward,
                                share.gradients);
    }
  }

  // Adds the shares' sums into the packed layout. c1 saw raw pixels: its gradient with respect to the normalised ones,
  // (p · scale - mean) / std, is (Σ g p · scale - mean Σ g) / std.
  void collect(int64_t threads, float scale) {
    float* out = convolution_gradients.get();
    std::fill_n(out, Layout::convolutions, 0.0f);
    for (int64_t t = 0; t < threads; ++t) {
      const ConvolutionGradients& from = shares[t].gradients;
      for (int c = 0; c < kC1; ++c) {
        out[Layout::c1_bias + c] += from.c1_bias[c];
        for (int i = 0; i < kTaps * kTaps; ++i) {
          out[Layout::c1_weight + c * kTaps * kTaps + i] += from.c1[c][i / kTaps][i % kTaps];
        }
      }
      for (int n = 0; n < kC3; ++n) {
        out[Layout::c3_bias + n] += from.c3_bias[n];
        for (int y = 0; y < kTaps; ++y) {
          for (int x = 0; x < kTaps; ++x) {
            for (int c = 0; c < kC1; ++c) {
              out[Layout::c3_weight + ((c * kTaps + y) * kTaps + x) * kC3 + n] += from.c3[n][y][x * kC1 + c];
            }
          }
        }
      }
    }
    for (int c = 0; c < kC1; ++c) {
      for (int i = 0; i < kTaps * kTaps; ++i) {
        float& w = out[Layout::c1_weight + c * kTaps * kTaps + i];
        w = (w * scale - mean * out[Layout::c1_bias + c]) / std;
      }
    }
  }

  void apply(int64_t count, int64_t threads, float pixel_scale, const Update& update) {
    constexpr int rows = 100;  // inputs of c5 a task takes
    constexpr int c5_tasks = panels(kC5) * (kFeatures / rows), f6_tasks = panels(kF6);
    const int64_t classes = layout.padded_classes();
    parallel_for(1 + c5_tasks + f6_tasks + layout.output_panels, [&](int64_t task) {
      const FlushSubnormals flush;
      if (task == 0) {
        collect(threads, pixel_scale);
        kernels.update(convolution_gradients.get(), Layout::convolutions, 0, update);
        kernels.bias_update(c5_gradient.get(), kC5Padded, count, kC5Padded, Layout::c5_bias, update);
        kernels.bias_update(f6_gradient.get(), kF6Padded, count, kF6Padded, Layout::f6_bias, update);
        kernels.bias_update(logits.get(), classes, count, classes, layout.output_bias, update);
        return;
      }
      int i = static_cast<int>(task) - 1;
      if (i < c5_tasks) {
        const int from = i / panels(kC5) * rows;
        return kernels.dense_update(features.get(), kFeatures, c5_gradient.get(), kC5Padded, count, kFeatures,
                                    i % panels(kC5), from, from + rows, Layout::c5_weight, update);
      }
      if ((i -= c5_tasks) < f6_tasks) {
        return kernels.dense_update(c5.get(), kC5Padded, f6_gradient.get(), kF6Padded, count, kC5, i, 0, kC5,
                                    Layout::f6_weight, update);
      }
      i -= f6_tasks;
      kernels.dense_update(f6.get(), kF6Padded, logits.get(), classes, count, kF6, i, 0, kF6, Layout::output_weight,
                           update);
    });
  }

  void take_labels(const int32_t* from, const int64_t* indices, int64_t count) {
    if (count <= 0) throw std::invalid_argument("Expected at least one image in a batch");
    labels.resize(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
      const int32_t label = from[indices ? indices[i] : i];
      if (label < 0 || label >= layout.classes) throw std::invalid_argument("Expected labels below the class count");
      labels[static_cast<size_t>(i)] = label;
    }
    total_weight = static_cast<double>(count);
    if (class_weights.empty()) return;
    total_weight = 0;
    for (const int32_t label : labels) total_weight += static_cast<double>(class_weights[static_cast<size_t>(label)]);
  }

  AdamStep adam(const AdamOptions& options) const {
    const double t = static_cast<double>(steps + 1);
    const double correction1 = 1 - std::pow(options.beta1, t), correction2 = 1 - std::pow(options.beta2, t);
    return {static_cast<float>(1 - options.beta1),   static_cast<float>(options.beta2),
            static_cast<float>(1 - options.beta2),   static_cast<float>(1 / std::sqrt(correction2)),
            static_cast<float>(options.epsilon),     static_cast<float>(options.learning_rate / correction1),
            static_cast<float>(options.weight_decay)};
  }

  // Gradients that are there already.
  void apply_given(const float* gradients, const Update& update) {
    constexpr int64_t piece = 4096;  // floats a task takes
    parallel_for((layout.size + piece - 1) / piece, [&](int64_t task) {
      const FlushSubnormals flush;
      const int64_t from = task * piece;
      kernels.update(gradients + from, std::min(piece, layout.size - from), from, update);
    });
  }

  StepResult run(const Batch& batch, const Update& update) {
    const int64_t threads = std::max<int64_t>(1, std::min<int64_t>(num_threads(), batch.count));
    reserve(batch.count, threads);
    prepare();
    parallel_for(threads, [&](int64_t t) {
      const FlushSubnormals flush;
      Share& share = shares[t];
      share.gradients = ConvolutionGradients{};
      share.loss = 0;
      share.correct = 0;
      const int64_t to = batch.count * (t + 1) / threads;
      for (int64_t first = batch.count * t / threads; first < to; first += kChunk) {
        chunk(batch, first, std::min(kChunk, to - first), share);
      }
    });
    StepResult result{0, 0, total_weight};
    for (int64_t t = 0; t < threads; ++t) {
      result.loss += shares[t].loss;
      result.correct += shares[t].correct;
    }
    if (total_weight > 0) result.loss /= total_weight;
    apply(batch.count, threads, batch.type == PixelType::uint8 ? 1.0f / 255 : 1.0f, update);
    return result;
  }
};

Trainer::Trainer(int classes, float mean, float std, InstructionSet set)
    : impl_(std::make_unique<Impl>(classes, mean, std, set)) {}
Trainer::~Trainer() = default;

void Trainer::import_state(const float* parameters, const float* exp_avg, const float* exp_avg_sq, int64_t step) {
  const auto load = [this](const float* flat, float* packed) {
    if (flat)
      pack(flat, impl_->layout, packed);
    else
      std::fill_n(packed, impl_->layout.size, 0.0f);
  };
  load(parameters, impl_->parameters.get());
  load(exp_avg, impl_->exp_avg.get());
  load(exp_avg_sq, impl_->exp_avg_sq.get());
  impl_->steps = step;
}

void Trainer::export_state(float* parameters, float* exp_avg, float* exp_avg_sq, int64_t* step) const {
  if (parameters) unpack(impl_->parameters.get(), impl_->layout, parameters);
  if (exp_avg) unpack(impl_->exp_avg.get(), impl_->layout, exp_avg);
  if (exp_avg_sq) unpack(impl_->exp_avg_sq.get(), impl_->layout, exp_avg_sq);
  if (step) *step = impl_->steps;
}

void Trainer::set_class_weights(const std::vector<float>& weights) {
  if (!weights.empty() && weights.size() != static_cast<size_t>(impl_->layout.classes)) {
    throw std::invalid_argument("Expected " + std::to_string(impl_->layout.classes) +
                                " numbers, one a class, for the class weights but received " +
                                std::to_string(weights.size()));
  }
  for (const float weight : weights) {
    if (weight >= 0 && std::isfinite(weight)) continue;
    throw std::invalid_argument("Expected finite numbers of at least 0 for the class weights but received " +
                                std::to_string(weight));
  }
  impl_->class_weights = weights;
}

StepResult Trainer::step(const uint8_t* images, int size, const int32_t* labels, const int64_t* indices, int64_t count,
                         const AdamOptions& options) {
  impl_->take_labels(labels, indices, count);
  const StepResult result = impl_->run(
      {images, PixelType::uint8, size, indices, count},
      {impl_->parameters.get(), impl_->exp_avg.get(), impl_->exp_avg_sq.get(), nullptr, impl_->adam(options)});
  ++impl_->steps;
  return result;
}

int64_t Trainer::gradient_length() const { return impl_->layout.size; }

StepResult Trainer::part(const uint8_t* images, int size, const int32_t* labels, const int64_t* indices, int64_t count,
                         double total, float* gradients) {
  if (count == 0) {
    std::fill_n(gradients, impl_->layout.size, 0.0f);
    return {0, 0, 0};
  }
  impl_->take_labels(labels, indices, count);
  impl_->total_weight = total;
  return impl_->run({images, PixelType::uint8, size, indices, count}, {nullptr, nullptr, nullptr, gradients, {}});
}

void Trainer::apply(const float* gradients, const AdamOptions& options) {
  impl_->apply_given(gradients, {impl_->parameters.get(), impl_->exp_avg.get(), impl_->exp_avg_sq.get(), nullptr,
                                 impl_->adam(options)});
  ++impl_->steps;
}

StepResult Trainer::gradients(const Images& images, const int32_t* labels, float* gradients) {
  impl_->take_labels(labels, nullptr, images.count);
  const AlignedArray<float> packed = Impl::floats(impl_->layout.size);
  const StepResult result = impl_->run({images.pixels, images.type, images.size, nullptr, images.count},
                                       {nullptr, nullptr, nullptr, packed.get(), {}});
  unpack(packed.get(), impl_->layout, gradients);
  return result;
}

}  // namespace lenet5::kernels
