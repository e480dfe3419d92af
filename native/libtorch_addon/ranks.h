// The ranks of a training in JavaScript's hands: joined here, handed to the start of a training in either addon.
#pragma once

#include <napi.h>

namespace lenet5::addon {

// joinRanks({ rank, size, host, port, serves, attempt, card, timeoutSeconds }, cancellation | undefined):
// { ranks, cards }, once all have met
Napi::Value join_ranks(const Napi::CallbackInfo& info);

// leaveRanks(ranks, reason): tells the others, without waiting. After a training's own end it does nothing.
void leave_ranks(const Napi::CallbackInfo& info);

// freeRanks(ranks): ends the connections, once a training that has them has ended. A second call does nothing.
void free_ranks(const Napi::CallbackInfo& info);

}  // namespace lenet5::addon
