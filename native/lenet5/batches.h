// A training set in batches: shuffled anew in every epoch, each image distorted anew where that was asked for. The
// distortions of an image depend on the seed, the epoch and the image alone, so that a resumed run sees the same.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "../kernels/augment.h"
#include "engine.h"
#include "random.h"

namespace lenet5 {

using Augmentation = kernels::AugmentationOptions;

class Batches {
 public:
  // `generator`: the state to go on from, or none. The set must outlive the batches.
  Batches(const ImageSet& set, int64_t batch_size, uint64_t seed, const std::vector<uint8_t>& generator,
          const std::optional<Augmentation>& augmentation);

  int64_t steps() const { return (set_.count() + batch_size_ - 1) / batch_size_; }
  // Shuffles; epochs count from 0.
  void begin_epoch(int64_t epoch);
  // The batch of a step of this epoch, good until the next call.
  Batch at(int64_t step);
  // State of the shuffling generator, so that a resumed run shuffles on as the uninterrupted one would have.
  std::vector<uint8_t> generator() const { return generator_.state(); }

 private:
  const ImageSet& set_;
  int64_t batch_size_;
  uint64_t seed_;
  Generator generator_;
  std::optional<Augmentation> augmentation_;
  int64_t epoch_ = 0;
  std::vector<int64_t> order_;
  std::vector<uint8_t> distorted_;
  std::vector<int32_t> labels_;
};

}  // namespace lenet5
