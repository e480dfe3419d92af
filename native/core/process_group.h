// The ranks of a training over libtorch's c10d: a TCPStore where they meet, Gloo between them. Torchrun, Kubeflow and
// Slurm's scripts start the ranks and say where they meet; nothing here stands in for them.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../lenet5/cancellation.h"
#include "../lenet5/collective.h"

namespace lenet5 {

// Where and as whom a rank joins.
struct GroupRequest {
  int64_t rank = 0, size = 1;
  std::string host;
  uint16_t port = 0;
  // Whether rank 0 keeps the store; false where torchrun's agent does.
  bool serves = true;
  // Tells one start of the ranks from the next, which may meet at the same store.
  std::string attempt;
  // What this rank says of itself, for all to compare.
  std::string card;
  // How long the ranks wait for each other, in the beginning and in each step.
  std::chrono::milliseconds timeout{300'000};
};

class ProcessGroup : public Collective {
 public:
  // Meets the others; null where `stop` was set first. Throws DISTRIBUTED_FAILED where not all came within the
  // time-out, DISTRIBUTED_UNAVAILABLE where libtorch has no Gloo, MODEL_BUSY where the process has a group that has not
  // ended.
  static std::shared_ptr<ProcessGroup> join(const GroupRequest& request, const Cancellation& stop);

  // What all ranks say of themselves, by rank.
  virtual const std::vector<std::string>& cards() const = 0;
  // As `leave`, from another thread and without waiting.
  virtual void tell(const std::string& reason) = 0;
};

}  // namespace lenet5
