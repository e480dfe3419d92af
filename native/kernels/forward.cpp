// Inference: blocks of images through the convolutions one by one, then through the dense layers together.
#include <algorithm>
#include <atomic>

#include "aligned.h"
#include "kernel_table.h"
#include "packing.h"
#include "prefetch.h"
#include "thread_pool.h"

namespace lenet5::kernels {
namespace {

constexpr int64_t kBlock = 48;              // images whose features share a pass over the dense weights
constexpr int64_t kWorthAnotherThread = 4;  // images: fewer are done sooner than another thread joins

struct Scratch {
  ConvolutionScratch convolution;
  alignas(64) float features[kBlock * kFeatures];
  alignas(64) float c5[kBlock * kC5Padded];
  alignas(64) float f6[kBlock * kF6Padded];
  alignas(64) float logits[kBlock * kPanel];
};

// One for each thread that ever predicts, made on its first prediction.
Scratch& thread_scratch() {
  thread_local AlignedArray<Scratch> scratch;
  if (!scratch) scratch = aligned_array<Scratch>(1);
  return scratch[0];
}

}  // namespace

struct Forward::Impl {
  const KernelTable& kernels;
  Layout layout;
  AlignedArray<float> packed;
  AlignedArray<ConvolutionWeights> convolution;

  Impl(const float* parameters, int classes, float mean, float std, InstructionSet set)
      : kernels(table(set)),
        layout(classes),
        packed(aligned_array<float>(static_cast<size_t>(layout.size))),
        convolution(aligned_array<ConvolutionWeights>(1)) {
    pack(parameters, layout, packed.get());
    kernels.prepare(packed.get(), mean, std, convolution.get());
  }

  bool block(const Images& images, int64_t first, int64_t count, const Answers& all) const {
    Scratch& s = thread_scratch();
    const int64_t image_bytes = int64_t{images.size} * images.size * (images.type == PixelType::uint8 ? 1 : 4);
    const char* pixels = static_cast<const char*>(images.pixels) + first * image_bytes;
    bool finite = true;
    for (int64_t i = 0; i < count; ++i) {
      // Images follow one another by less than a page, and each page's first lines come late without this.
      if (i + 1 < count) prefetch(pixels + (i + 1) * image_bytes, image_bytes);
      finite &= kernels.convolve(convolution[0], pixels + i * image_bytes, images.type, images.size, s.convolution,
                                 s.features + i * kFeatures, nullptr);
    }
    const float* p = packed.get();
    kernels.dense(s.features, kFeatures, kFeatures, p + Layout::c5_weight, p + Layout::c5_bias, kC5, s.c5, kC5Padded,
                  count, true);
    kernels.dense(s.c5, kC5Padded, kC5, p + Layout::f6_weight, p + Layout::f6_bias, kF6, s.f6, kF6Padded, count, true);
    const int classes = layout.classes;
    const Answers answers{all.scores + first * classes, all.labels ? all.labels + first : nullptr, all.log};
    if (layout.output_panels == 1) {
      kernels.dense(s.f6, kF6Padded, kF6, p + Layout::output_weight, p + layout.output_bias, classes, s.logits, kPanel,
                    count, false);
      kernels.answer(s.logits, kPanel, classes, count, answers);
      return finite;
    }
    // Many classes: a panel of logits at a time goes to its place in the answer, which is normalised there.
    for (int panel = 0; panel < layout.output_panels; ++panel) {
      const int from = panel * kPanel, width = std::min(kPanel, classes - from);
      kernels.dense(s.f6, kF6Padded, kF6, p + Layout::output_weight + int64_t{panel} * kF6 * kPanel,
                    p + layout.output_bias + from, width, s.logits, kPanel, count, false);
      for (int64_t i = 0; i < count; ++i) {
        std::copy_n(s.logits + i * kPanel, width, answers.scores + i * classes + from);
      }
    }
    kernels.answer(answers.scores, classes, classes, count, answers);
    return finite;
  }
};

Forward::Forward(const float* parameters, int classes, float mean, float std, InstructionSet set)
    : impl_(std::make_unique<Impl>(parameters, classes, mean, std, set)) {}
Forward::~Forward() = default;

bool Forward::run(const Images& images, const Answers& answers) const {
  const int64_t count = images.count;
  const int64_t threads = std::max<int64_t>(1, std::min<int64_t>(num_threads(), count / kWorthAnotherThread));
  const int64_t rounds = (count + threads * kBlock - 1) / (threads * kBlock);
  const int64_t tasks = threads * rounds;
  if (count <= 0) return true;
  std::atomic<bool> finite{true};
  // Even shares, in as few rounds as the block allows.
  parallel_for(tasks, [&](int64_t task) {
    const int64_t from = count * task / tasks, to = count * (task + 1) / tasks;
    if (!impl_->block(images, from, to - from, answers)) finite.store(false, std::memory_order_relaxed);
  });
  return finite.load(std::memory_order_relaxed);
}

}  // namespace lenet5::kernels
