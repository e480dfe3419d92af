// Problem: a training step sums some 270 KB over all ranks. Gloo's own all-reduce sends them around a ring in 2 (N - 1)
// messages one after the other, each behind a message that says that its receiver is ready, and by threads that hand
// the work to each other; so a network's delay counts 2 (N - 1) times and more, and on a machine without spare cores
// the threads wait for one another longer than the bytes take. And a socket that is just being written to cannot be
// read by Gloo's other thread, which tries again and again, and so takes the processor from the writer.
//
// Resolution: each rank sends each other one its part of the numbers, sums what it receives of its own part, and sends
// that to all: as many bytes as a ring, in two rounds of messages. Two ranks send each other all of it, in one. The
// calling thread sends, and waits itself. What a rank is to receive it announces two sums ahead, so that no message has
// to wait for that. Between two ranks one socket carries the numbers of the lower rank, another one those of the
// higher: Gloo opens one for each of a group's devices, of which it takes the one that the tag's remainder names.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <vector>

namespace lenet5 {

class DirectSum {
 public:
  // Of `memory`, floats, summed in place. All ranks construct it with as many numbers and as many devices, two or more.
  // It waits `timeout` for each message.
  DirectSum(c10::intrusive_ptr<c10d::ProcessGroupGloo> group, int devices, at::Tensor memory,
            std::chrono::milliseconds timeout);

  bool is_of(const at::Tensor& memory) const;

  // The sum, with the same bits on all ranks. False where it was aborted; throws what Gloo does. After either nothing
  // more may be asked.
  bool carry_out();

  // Ends the waiting of a thread in `carry_out`, from another one; without effect where it is not just waiting, so the
  // caller repeats it.
  void abort();

  // Whether a connection that a thread in `carry_out` waits for is lost; from another one. Gloo wakes those whose
  // message has not begun, and leaves those who have had a piece of it to their time-out.
  bool has_lost_connection();

 private:
  using Work = c10::intrusive_ptr<c10d::Work>;
  enum Message { numbers, part };

  // What was announced for one sum, by the order of `others_`.
  struct Announced {
    std::vector<at::Tensor> theirs;  // where the others' numbers go: of two ranks all, of more this rank's part
    std::vector<Work> numbers, parts;
  };

  // A rank's part of the memory; the last ones may be empty.
  at::Tensor part_of(int rank) const;
  void announce(Announced& sum);
  int tag_of(Message message, int from, int to) const;
  Work send(at::Tensor what, int to, Message message);
  Work receive(at::Tensor where, int from, Message message);
  bool all_over(const std::vector<Work>& works);

  const c10::intrusive_ptr<c10d::ProcessGroupGloo> group_;
  const at::Tensor memory_;
  const std::chrono::milliseconds timeout_;
  const int devices_, rank_, size_;
  std::vector<int> others_;
  std::array<Announced, 2> announced_;
  size_t next_ = 0;
  std::mutex mutex_;
  Work waited_for_;
};

}  // namespace lenet5
