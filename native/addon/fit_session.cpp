#include "fit_session.h"

#include <optional>
#include <utility>
#include <variant>

#include "js_error.h"
#include "typed_arrays.h"

namespace lenet5::addon {

namespace {

Napi::Object to_js(Napi::Env env, const Progress& progress) {
  Napi::Object event = Napi::Object::New(env);
  event.Set("type", "progress");
  event.Set("epoch", static_cast<double>(progress.epoch));
  event.Set("step", static_cast<double>(progress.step));
  event.Set("steps", static_cast<double>(progress.steps));
  event.Set("loss", progress.loss);
  event.Set("imagesPerSecond", progress.images_per_second);
  return event;
}

Napi::Object to_js(Napi::Env env, const TrainingState& state) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("parameters", copy_out(env, state.optimizer.parameters));
  object.Set("expAvg", copy_out(env, state.optimizer.exp_avg));
  object.Set("expAvgSq", copy_out(env, state.optimizer.exp_avg_sq));
  object.Set("step", static_cast<double>(state.optimizer.step));
  object.Set("epoch", static_cast<double>(state.epoch));
  object.Set("generator", copy_out(env, state.generator));
  return object;
}

Napi::Object to_js(Napi::Env env, const EpochResult& result) {
  Napi::Object event = Napi::Object::New(env);
  event.Set("type", "epoch");
  event.Set("epoch", static_cast<double>(result.epoch));
  event.Set("loss", result.loss);
  event.Set("accuracy", result.accuracy);
  event.Set("seconds", result.seconds);
  event.Set("imagesPerSecond", result.images_per_second);
  event.Set("learningRate", result.learning_rate);
  if (result.validation) {
    Napi::Object validation = Napi::Object::New(env);
    validation.Set("loss", result.validation->first);
    validation.Set("accuracy", result.validation->second);
    event.Set("validation", validation);
  }
  if (result.state) event.Set("state", to_js(env, *result.state));
  return event;
}

struct Finished {
  std::optional<Error> error;
};
using Message = std::variant<Progress, EpochResult, Finished>;

// Lives until the thread-safe function is gone.
struct Context {
  Context(Napi::Env environment, std::shared_ptr<FitThread> running)
      : env(environment), deferred(Napi::Promise::Deferred::New(environment)), run(std::move(running)) {}

  napi_env env;
  Napi::Promise::Deferred deferred;
  std::shared_ptr<FitThread> run;
};

void cleanup_hook(void* data) { static_cast<Context*>(data)->run->halt(); }

void deliver(Napi::Env env, Napi::Function on_event, Context* context, Message* raw) {
  const std::unique_ptr<Message> message(raw);
  if (static_cast<napi_env>(env) == nullptr) return;
  try {
    if (const auto* finished = std::get_if<Finished>(message.get())) {
      if (finished->error) {
        context->deferred.Reject(to_js_error(env, *finished->error).Value());
      } else {
        context->deferred.Resolve(env.Undefined());
      }
      return;
    }
    const Napi::Object event = std::holds_alternative<Progress>(*message) ? to_js(env, std::get<Progress>(*message))
                                                                          : to_js(env, std::get<EpochResult>(*message));
    on_event.Call({event});
  } catch (...) {
    // The environment is being torn down: nobody is left to hear of it.
  }
}

using Channel = Napi::TypedThreadSafeFunction<Context, Message, deliver>;

void finalize(Napi::Env, void*, Context* context) {
  // At a normal end the thread is past its last statement; at teardown the hook may have joined it already.
  context->run->halt();
  napi_remove_env_cleanup_hook(context->env, cleanup_hook, context);
  delete context;
}

void send(Channel& channel, Message message) {
  auto owned = std::make_unique<Message>(std::move(message));
  // The queue is unbounded, so this never waits; it fails only while the environment is closing.
  if (channel.NonBlockingCall(owned.get()) == napi_ok) owned.release();
}

}  // namespace

void FitThread::halt() {
  stop.store(true);
  if (thread.joinable()) thread.join();
}

Napi::Promise start_fit(Napi::Env env, std::shared_ptr<Model> model, FitRequest request, Napi::Function on_event,
                        std::shared_ptr<FitThread> run) {
  auto* context = new Context(env, run);
  const Napi::Promise promise = context->deferred.Promise();
  Channel channel = Channel::New(env, on_event, "lenet5 fit", 0, 1, context, finalize, static_cast<void*>(nullptr));
  napi_add_env_cleanup_hook(env, cleanup_hook, context);
  // The thread knows its FitThread by a bare pointer: the context keeps it, and joins before it lets go.
  run->thread =
      std::thread([model = std::move(model), request = std::move(request), channel, run = run.get()]() mutable {
        Finished finished;
        try {
          TrainObserver observer;
          observer.progress = [&](const Progress& progress) { send(channel, progress); };
          observer.epoch = [&](const EpochResult& result) { send(channel, result); };
          model->fit(request.options, *request.train, request.validation.get(), std::move(request.start), run->stop,
                     observer);
        } catch (...) {
          finished.error = current_error();
        }
        model.reset();
        send(channel, finished);
        channel.Release();
      });
  return promise;
}

}  // namespace lenet5::addon
