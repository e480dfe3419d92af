// The ranks of a training in JavaScript's hands: joined here, handed to the start of a training in either addon.
#pragma once

#include <napi.h>

namespace lenet5::addon {

// joinRanks({ rank, size, host, port, serves, attempt, card, timeoutSeconds }): an attempt to join, which begins at
// once
Napi::Value join_ranks(const Napi::CallbackInfo& info);

// awaitRanks(attempt): { ranks, cards } once all have met, undefined after a moment in which they have not. Rejected
// with ABORTED after stopJoining.
Napi::Value await_ranks(const Napi::CallbackInfo& info);

// stopJoining(attempt): gives it up
void stop_joining(const Napi::CallbackInfo& info);

// leaveRanks(ranks, reason): tells the others; settles once they had a chance to read it. After a training's own end,
// and after the first call, it does nothing.
Napi::Value leave_ranks(const Napi::CallbackInfo& info);

// freeRanks(ranks): ends the connections, once a training that has them has ended. A second call does nothing.
void free_ranks(const Napi::CallbackInfo& info);

}  // namespace lenet5::addon
