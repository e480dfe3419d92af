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
  // What all ranks say of themselves, by rank.
  virtual const std::vector<std::string>& cards() const = 0;
  // `leave` in two parts, of which the first does not wait. Whether this rank's end is the caller's to tell, by the
  // second.
  virtual bool takes_leave() = 0;
  virtual void say_why(const std::string& reason) = 0;
};

// An attempt to meet the others, made by a thread of its own, for libtorch's calls cannot be taken back.
class Joining {
 public:
  // Throws DISTRIBUTED_UNAVAILABLE where libtorch has no Gloo.
  explicit Joining(const GroupRequest& request);
  ~Joining();
  Joining(const Joining&) = delete;
  Joining& operator=(const Joining&) = delete;

  // Gives the attempt up; from any thread.
  void stop();
  // The group, once, when all have met; null where they have not yet. Throws DISTRIBUTED_FAILED where not all came
  // within the time-out, MODEL_BUSY where the process has a group that has not ended, INVALID_OPTION for network
  // interfaces that are not there, ABORTED after `stop`: then when the others had a chance to hear of it.
  std::shared_ptr<ProcessGroup> wait_for(std::chrono::milliseconds patience);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace lenet5
