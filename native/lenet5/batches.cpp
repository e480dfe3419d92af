#include "batches.h"

#include <algorithm>

namespace lenet5 {

Batches::Batches(const ImageSet& set, int64_t batch_size, uint64_t seed, const std::vector<uint8_t>& generator,
                 const std::optional<Augmentation>& augmentation, const std::vector<float>& class_weights, Share share)
    : set_(set),
      batch_size_(batch_size),
      seed_(seed),
      generator_(seed),
      augmentation_(augmentation),
      class_weights_(class_weights),
      share_(share) {
  if (!generator.empty()) generator_.set_state(generator);
}

void Batches::begin_epoch(int64_t epoch) {
  epoch_ = epoch;
  order_ = generator_.permutation(set_.count());
}

Batch Batches::at(int64_t step) {
  const int64_t first = step * batch_size_;
  const int64_t whole = std::min(batch_size_, set_.count() - first);
  const int64_t* indices = order_.data() + first;
  double weight = static_cast<double>(whole);
  if (!class_weights_.empty()) {
    weight = 0;
    for (int64_t i = 0; i < whole; i++) {
      const auto label = static_cast<size_t>(set_.labels[static_cast<size_t>(indices[i])]);
      weight += static_cast<double>(class_weights_[label]);
    }
  }
  int64_t count = whole;
  if (share_.size > 1) {
    own_.clear();
    for (int64_t i = share_.rank; i < whole; i += share_.size) own_.push_back(indices[i]);
    indices = own_.data();
    count = static_cast<int64_t>(own_.size());
  }
  if (!augmentation_) return {set_.images.data(), set_.size, set_.labels.data(), indices, count, whole, weight};
  distorted_.resize(static_cast<size_t>(count * set_.size * set_.size));
  labels_.resize(static_cast<size_t>(count));
  kernels::augment(set_.images.data(), set_.size, indices, count, *augmentation_, seed_, static_cast<uint64_t>(epoch_),
                   distorted_.data());
  for (int64_t i = 0; i < count; i++) {
    labels_[static_cast<size_t>(i)] = set_.labels[static_cast<size_t>(indices[i])];
  }
  return {distorted_.data(), set_.size, labels_.data(), nullptr, count, whole, weight};
}

}  // namespace lenet5
