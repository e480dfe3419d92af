#if LENET5_C10D

#include "direct_sum.h"

#include <algorithm>
#include <exception>
#include <limits>
#include <utility>

namespace lenet5 {

namespace {

constexpr int64_t kFloatsPerLine = 16;

// A processor gives the first of two NaN on, and the other rank has the two the other way round: all become the same.
float total(float sum, float number) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const float both = sum + number;
  return both == both ? both : kNan;
}

// By lines: a loop of a known length becomes vector instructions with every compiler.
void accumulate(const at::Tensor& to, const at::Tensor& what) {
  float* __restrict const sums = to.data_ptr<float>();
  const float* __restrict const numbers = what.data_ptr<float>();
  const int64_t count = to.numel();
  int64_t i = 0;
  for (; i + kFloatsPerLine <= count; i += kFloatsPerLine) {
    for (int64_t k = 0; k < kFloatsPerLine; k++) sums[i + k] = total(sums[i + k], numbers[i + k]);
  }
  for (; i < count; i++) sums[i] = total(sums[i], numbers[i]);
}

}  // namespace

DirectSum::DirectSum(c10::intrusive_ptr<c10d::ProcessGroupGloo> group, int devices, at::Tensor memory,
                     std::chrono::milliseconds timeout)
    : group_(std::move(group)),
      memory_(std::move(memory)),
      timeout_(timeout),
      devices_(devices),
      rank_(group_->getRank()),
      size_(group_->getSize()) {
  // Each begins with the one behind it, so that not all send to the same at once.
  for (int i = 1; i < size_; i++) others_.push_back((rank_ + i) % size_);
  const int64_t own = size_ == 2 ? memory_.numel() : part_of(rank_).numel();
  for (Announced& sum : announced_) {
    for (size_t i = 0; i < others_.size(); i++) sum.theirs.push_back(at::zeros({own}, at::kFloat));
    announce(sum);
  }
}

bool DirectSum::is_of(const at::Tensor& memory) const {
  return memory.data_ptr() == memory_.data_ptr() && memory.numel() == memory_.numel();
}

at::Tensor DirectSum::part_of(int rank) const {
  const int64_t count = memory_.numel();
  const int64_t lines = (count + kFloatsPerLine - 1) / kFloatsPerLine;
  const int64_t length = (lines + size_ - 1) / size_ * kFloatsPerLine;
  const int64_t begin = std::min(count, rank * length);
  return memory_.narrow(0, begin, std::min(length, count - begin));
}

int DirectSum::tag_of(Message message, int from, int to) const {
  return (1 + message) * devices_ + (from < to ? 0 : 1);
}

DirectSum::Work DirectSum::send(at::Tensor what, int to, Message message) {
  if (what.numel() == 0) return {};
  std::vector<at::Tensor> tensors{std::move(what)};
  return group_->send(tensors, to, tag_of(message, rank_, to));
}

DirectSum::Work DirectSum::receive(at::Tensor where, int from, Message message) {
  if (where.numel() == 0) return {};
  std::vector<at::Tensor> tensors{std::move(where)};
  return group_->recv(tensors, from, tag_of(message, from, rank_));
}

// The others' parts go into the memory itself, although it is the caller's until the next sum: no rank can send its
// part before it has received this rank's numbers of that sum.
void DirectSum::announce(Announced& sum) {
  sum.numbers.clear();
  sum.parts.clear();
  for (size_t i = 0; i < others_.size(); i++) {
    sum.numbers.push_back(receive(sum.theirs[i], others_[i], numbers));
    if (size_ > 2) sum.parts.push_back(receive(part_of(others_[i]), others_[i], part));
  }
}

bool DirectSum::all_over(const std::vector<Work>& works) {
  for (const Work& work : works) {
    if (!work) continue;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      waited_for_ = work;
    }
    const bool done = work->wait(timeout_);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      waited_for_.reset();
    }
    if (!done) return false;
  }
  return true;
}

bool DirectSum::carry_out() {
  Announced& sum = announced_[next_++ % announced_.size()];
  const bool are_two = size_ == 2;
  std::vector<Work> sending;
  for (const int other : others_) sending.push_back(send(are_two ? memory_ : part_of(other), other, numbers));
  if (!all_over(sum.numbers)) return false;
  // Of two, each sums into what it is sending.
  if (are_two && !all_over(sending)) return false;
  const at::Tensor own = are_two ? memory_ : part_of(rank_);
  // One rank alone sums a part, so its order is no matter; and two numbers have one sum.
  for (const at::Tensor& theirs : sum.theirs) accumulate(own, theirs);
  if (!are_two) {
    for (const int other : others_) sending.push_back(send(own, other, part));
    if (!all_over(sum.parts) || !all_over(sending)) return false;
  }
  announce(sum);
  return true;
}

void DirectSum::abort() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (waited_for_) waited_for_->abort();
}

// Each connection has messages of the next sum announced too, which Gloo marks when it fails. While a thread waits,
// those are not touched; and to wait for one that is aborted takes no time and nothing away.
bool DirectSum::has_lost_connection() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!waited_for_) return false;
  const Announced& following = announced_[next_ % announced_.size()];
  for (const auto* works : {&following.numbers, &following.parts}) {
    for (const Work& work : *works) {
      if (!work) continue;
      try {
        work->abort();
        work->wait();
      } catch (const std::exception&) {
        return true;
      }
    }
  }
  return false;
}

}  // namespace lenet5

#endif
