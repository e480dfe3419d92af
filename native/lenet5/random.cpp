#include "random.h"

#include <cmath>
#include <cstring>
#include <numeric>
#include <string>
#include <utility>

#include "error.h"

namespace lenet5 {

namespace {

// The bytes of torch.Generator.get_state(): CPUGeneratorImplState of ATen/CPUGeneratorImpl.cpp. What belongs to normal
// distributions is never used here, and is written as a generator that has drawn none has it.
struct State {
  uint64_t seed;
  int32_t left;
  int32_t seeded;
  uint64_t next;
  uint64_t words[624];
  double normal_x, normal_y, normal_rho;
  int32_t normal_is_valid;
  int32_t padding;
  float next_normal;
  uint8_t next_normal_is_valid;
  uint8_t more_padding[3];
};
static_assert(sizeof(State) == 5056, "the length of torch.Generator.get_state()");

}  // namespace

Generator::Generator(uint64_t seed) : seed_(seed) {
  words_[0] = static_cast<uint32_t>(seed);
  for (uint32_t i = 1; i < kWords; i++) words_[i] = 1812433253u * (words_[i - 1] ^ (words_[i - 1] >> 30)) + i;
}

void Generator::refill() {
  for (size_t i = 0; i < kWords; i++) {
    const uint32_t mixed = (words_[i] & 0x80000000u) | (words_[(i + 1) % kWords] & 0x7fffffffu);
    words_[i] = words_[(i + 397) % kWords] ^ (mixed >> 1) ^ ((mixed & 1) != 0 ? 0x9908b0dfu : 0u);
  }
  left_ = static_cast<int32_t>(kWords);
  next_ = 0;
}

uint32_t Generator::next() {
  if (--left_ == 0) refill();
  uint32_t y = words_[next_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  return y ^ (y >> 18);
}

float Generator::uniform(float from, float to) {
  const float share = static_cast<float>(next() & 0xffffffu) * 0x1p-24f;
  return std::fma(share, to - from, from);
}

std::vector<int64_t> Generator::permutation(int64_t count) {
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (int64_t i = 0; i < count - 1; i++) {
    const auto other = static_cast<int64_t>(next() % static_cast<uint64_t>(count - i));
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(i + other)]);
  }
  return order;
}

std::vector<uint8_t> Generator::state() const {
  State state{};
  state.seed = seed_;
  state.left = left_;
  state.seeded = 1;
  state.next = next_;
  for (size_t i = 0; i < kWords; i++) state.words[i] = words_[i];
  std::vector<uint8_t> bytes(sizeof state);
  std::memcpy(bytes.data(), &state, sizeof state);
  return bytes;
}

void Generator::set_state(const std::vector<uint8_t>& bytes) {
  State state;
  if (bytes.size() != sizeof state) {
    throw Error("CHECKPOINT_CORRUPT", "Expected " + std::to_string(sizeof state) +
                                          " bytes for the generator's state but received " +
                                          std::to_string(bytes.size()));
  }
  std::memcpy(&state, bytes.data(), sizeof state);
  // `next` is an index: a state that leads outside of the words must not get in. A refill is due exactly when `left`
  // has counted down, so the two have to agree, but for the moment after seeding.
  const bool fresh = state.left == 1 && state.next == 0;
  const bool within = state.left >= 1 && state.left <= static_cast<int32_t>(kWords) &&
                      state.next == kWords + 1 - static_cast<uint64_t>(state.left);
  if (state.seeded != 1 || !(fresh || within)) {
    throw Error("CHECKPOINT_CORRUPT", "Expected the state of a seeded generator but received other bytes");
  }
  seed_ = state.seed;
  left_ = state.left;
  next_ = static_cast<uint32_t>(state.next);
  for (size_t i = 0; i < kWords; i++) words_[i] = static_cast<uint32_t>(state.words[i]);
}

}  // namespace lenet5
