// A training set in batches: shuffled anew in every epoch, each image distorted anew where that was asked for. The
// distortions of an image depend on the seed, the epoch and the image alone, so that a resumed run sees the same.
//
// Several ranks share each batch as torch.utils.data.DistributedSampler has it: all shuffle alike, and rank r of N
// takes the images r, r + N, r + 2N … So the batches are the same whatever their number. Where DistributedSampler
// repeats images until the last parts are equally large, one of them is smaller here, or empty: no image counts twice.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "../kernels/augment.h"
#include "engine.h"
#include "random.h"

namespace lenet5 {

using Augmentation = kernels::AugmentationOptions;

// Which part of each batch is one's own.
struct Share {
  int64_t rank = 0, size = 1;
};

class Batches {
 public:
  // `generator`: the state to go on from, or none. `class_weights`: one a class, or none. The set must outlive the
  // batches.
  Batches(const ImageSet& set, int64_t batch_size, uint64_t seed, const std::vector<uint8_t>& generator,
          const std::optional<Augmentation>& augmentation, const std::vector<float>& class_weights, Share share);

  int64_t steps() const { return (set_.count() + batch_size_ - 1) / batch_size_; }
  // Shuffles; epochs count from 0.
  void begin_epoch(int64_t epoch);
  // This epoch's, good until the next one begins: image i of step s is order()[s * batch_size + i] of the set.
  const std::vector<int64_t>& order() const { return order_; }
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
  std::vector<float> class_weights_;
  Share share_;
  int64_t epoch_ = 0;
  std::vector<int64_t> order_, own_;
  std::vector<uint8_t> distorted_;
  std::vector<int32_t> labels_;
};

}  // namespace lenet5
