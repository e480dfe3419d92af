// PyTorch's random numbers on the CPU, bit for bit: torch.Generator, Tensor.uniform_ and torch.randperm.
//
// Problem: a seed should give PyTorch's initial weights and its order of the images, and a checkpoint holds the state
// of PyTorch's generator; libtorch need not be there for that. Resolution: the same Mersenne Twister (Matsumoto and
// Nishimura 1998, MT19937) with the same layout of its state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lenet5 {

class Generator {
 public:
  // As torch.Generator().manual_seed(seed).
  explicit Generator(uint64_t seed);

  uint32_t next();
  // As Tensor.uniform_(from, to) draws each float. PyTorch computes from + x (to - from) with a fused multiply-add
  // wherever the processor has one; so it is here, on every machine.
  float uniform(float from, float to);
  // As torch.randperm(count, generator): the numbers 0 … count - 1 in random order. For fewer than 2^32 / 20, from
  // where on PyTorch draws in another way (and a set of 28×28 images takes 168 GB).
  std::vector<int64_t> permutation(int64_t count);

  // As torch.Generator.get_state() and set_state(). Throws CHECKPOINT_CORRUPT for bytes that are no state.
  std::vector<uint8_t> state() const;
  void set_state(const std::vector<uint8_t>& state);

 private:
  static constexpr size_t kWords = 624;

  void refill();

  uint64_t seed_;
  uint32_t words_[kWords];
  // Draws until the next refill, plus one; and the word that is drawn next. Two numbers that know the same, but PyTorch
  // stores both, and right after seeding they differ from what they are later.
  int32_t left_ = 1;
  uint32_t next_ = 0;
};

}  // namespace lenet5
