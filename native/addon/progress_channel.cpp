#include "progress_channel.h"

namespace lenet5::addon {

std::shared_ptr<ProgressChannel> ProgressChannel::open(Napi::Env env, const Napi::Function& callback) {
  auto channel = std::make_shared<ProgressChannel>();
  auto holder = std::make_unique<Holder>(Holder{channel});
  channel->function_ =
      Function::New(env, callback, "lenet5 progress", 0, 1, holder.get(), gone, static_cast<void*>(nullptr));
  holder.release();
  return channel;
}

void ProgressChannel::tell(int64_t done) {
  done_.store(done);
  if (waiting_.exchange(true)) return;
  std::lock_guard<std::mutex> lock(mutex_);
  // Refused only while the environment is closing; the function may then be used no more.
  if (open_ && function_.NonBlockingCall(nullptr) != napi_ok) open_ = false;
}

void ProgressChannel::close() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (open_) function_.Release();
  open_ = false;
}

void ProgressChannel::deliver(Napi::Env env, Napi::Function callback, Holder* holder, void*) {
  if (static_cast<napi_env>(env) == nullptr) return;
  ProgressChannel& channel = *holder->channel;
  channel.waiting_.store(false);
  if (channel.silent_) return;
  try {
    callback.Call({Napi::Number::New(env, static_cast<double>(channel.done_.load()))});
  } catch (...) {
    // See the header.
  }
}

void ProgressChannel::gone(Napi::Env, void*, Holder* holder) {
  {
    std::lock_guard<std::mutex> lock(holder->channel->mutex_);
    holder->channel->open_ = false;
  }
  delete holder;
}

}  // namespace lenet5::addon
