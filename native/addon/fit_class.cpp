#include "fit_class.h"

#include <algorithm>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include "../lenet5/crc32.h"
#include "async_task.h"
#include "checked.h"
#include "evaluation_js.h"
#include "external.h"
#include "js_error.h"
#include "ranks_table.h"
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

Napi::Object to_js(Napi::Env env, const EpochResult& result) {
  Napi::Object event = Napi::Object::New(env);
  event.Set("type", "epoch");
  event.Set("epoch", static_cast<double>(result.epoch));
  event.Set("loss", result.loss);
  event.Set("accuracy", result.accuracy);
  event.Set("seconds", result.seconds);
  event.Set("imagesPerSecond", result.images_per_second);
  event.Set("learningRate", result.learning_rate);
  if (result.communication_seconds) event.Set("communicationSeconds", *result.communication_seconds);
  if (result.validation) {
    Napi::Object validation = Napi::Object::New(env);
    set_counts(env, validation, *result.validation);
    event.Set("validation", validation);
  }
  if (result.state) event.Set("state", addon::to_js(env, *result.state));
  return event;
}

Napi::Object to_js(Napi::Env env, const TrainResult& result) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("stopped", result.stopped);
  object.Set("stoppedEarly", result.stopped_early);
  if (result.best_epoch > 0) object.Set("bestEpoch", static_cast<double>(result.best_epoch));
  return object;
}

struct Finished {
  TrainResult result;
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
        context->deferred.Resolve(to_js(env, finished->result));
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
  // At a normal end the thread is past its last statement; at teardown the hook may have joined it already. Node frees
  // the channel after this, so the thread must be gone.
  context->run->halt();
  napi_remove_env_cleanup_hook(context->env, cleanup_hook, context);
  delete context;
}

void send(Channel& channel, Message message) {
  auto owned = std::make_unique<Message>(std::move(message));
  // The queue is unbounded, so this never waits; it fails only while the environment is closing.
  if (channel.NonBlockingCall(owned.get()) == napi_ok) owned.release();
}

// All that the thread needs, in the order in which it lets go of it at its end.
struct Run {
  std::shared_ptr<Model> model;
  std::shared_ptr<Model::Busy> busy;
  std::shared_ptr<const FitRequest> request;
  TrainingState start;
  std::shared_ptr<Collective> ranks;
};

void run_to_end(Run run, Channel channel, const Cancellation& stop) {
  Finished finished;
  try {
    TrainObserver observer;
    observer.progress = [&](const Progress& progress) { send(channel, progress); };
    observer.epoch = [&](const EpochResult& result) { send(channel, result); };
    finished.result =
        run.model->fit(run.request->options, run.request->data, std::move(run.start), stop, observer, run.ranks.get());
    if (run.ranks && finished.result.stopped) run.ranks->leave("it was stopped");
    if (run.ranks && !finished.result.stopped) run.ranks->finish();
  } catch (...) {
    finished.error = current_error();
    if (run.ranks) run.ranks->leave(finished.error->what());
  }
  // Whoever hears of the end may begin the next training at once.
  run = Run{};
  send(channel, std::move(finished));
  channel.Release();
}

// The promise settles when the run has ended.
Napi::Promise start_thread(Napi::Env env, Run run, const Napi::Function& on_event,
                           const std::shared_ptr<FitThread>& thread) {
  auto owned = std::make_unique<Context>(env, thread);
  const Napi::Promise promise = owned->deferred.Promise();
  Channel channel = Channel::New(env, on_event, "lenet5 fit", 0, 1, owned.get(), finalize, static_cast<void*>(nullptr));
  Context* context = owned.release();
  napi_add_env_cleanup_hook(env, cleanup_hook, context);
  try {
    // The thread knows its FitThread by a bare pointer: the context keeps it, and joins before it lets go.
    thread->thread = std::thread([run = std::move(run), channel, raw = thread.get()]() mutable {
      run_to_end(std::move(run), channel, raw->stop);
    });
  } catch (const std::system_error& error) {
    context->deferred.Reject(
        to_js_error(env, Error("THREAD_UNAVAILABLE",
                               std::string("Expected another thread for the training but the system refused it: ") +
                                   error.what()))
            .Value());
    channel.Release();
  } catch (...) {
    context->deferred.Reject(to_js_error(env, current_error()).Value());
    channel.Release();
  }
  return promise;
}

// What is to be known of the data before the run: how its pixels are distributed, and which data it is.
class SurveyTask : public AsyncTask {
 public:
  SurveyTask(Napi::Env env, std::shared_ptr<const FitRequest> request)
      : AsyncTask(env), request_(std::move(request)), histogram_(256, 0) {}

 private:
  // The labels' bytes and then the images', as checkpoints have it since version 0.1.
  static uint32_t checksum(const ImageSet& set) {
    return crc32(set.images.data(), set.images.size(), crc32(set.labels.data(), set.labels.size() * sizeof(int32_t)));
  }

  void Run() override {
    uint64_t counts[256] = {};
    for (const uint8_t pixel : request_->data.train.images) counts[pixel]++;
    std::transform(std::begin(counts), std::end(counts), histogram_.begin(),
                   [](uint64_t count) { return static_cast<double>(count); });
    train_ = checksum(request_->data.train);
    if (request_->data.validation) validation_ = checksum(*request_->data.validation);
    request_.reset();
  }
  Napi::Value Result(Napi::Env env) override {
    Napi::Object result = Napi::Object::New(env);
    result.Set("histogram", copy_out(env, histogram_));
    result.Set("crc32", static_cast<double>(train_));
    if (validation_) result.Set("validationCrc32", static_cast<double>(*validation_));
    return result;
  }

  std::shared_ptr<const FitRequest> request_;
  std::vector<double> histogram_;
  uint32_t train_ = 0;
  std::optional<uint32_t> validation_;
};

int64_t bytes_of(const TrainingData& data) {
  const auto bytes = [](const ImageSet& set) { return set.images.size() + set.labels.size() * sizeof(int32_t); };
  return static_cast<int64_t>(bytes(data.train) + (data.validation ? bytes(*data.validation) : 0));
}

}  // namespace

void FitThread::halt() {
  stop.store(true);
  if (thread.joinable()) thread.join();
}

FitClass::FitClass(const Napi::CallbackInfo& info) : Napi::ObjectWrap<FitClass>(info) {
  with_js_errors(info.Env(), [&] {
    const auto& prepared = from_external<PreparedFit>(info[0], "new Fit");
    model_ = prepared.model;
    request_ = prepared.request;
    run_ = prepared.run;
    memory_.emplace(info.Env(), bytes_of(request_->data));
  });
}

std::shared_ptr<const FitRequest> FitClass::request() const {
  if (!request_) throw Error("DISPOSED", "Expected a live training for the call but received one that was disposed of");
  return request_;
}

Napi::Value FitClass::JS_survey(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(),
                        [&]() -> Napi::Value { return AsyncTask::start(new SurveyTask(info.Env(), request())); });
}

// start({ normalization?, resume?, ranks? }, onEvent)
Napi::Value FitClass::JS_start(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    const Napi::Object options = object_of(info[0], "start");
    const Napi::Function on_event = function_of(info[1], "onEvent");
    const Napi::Value normalization = options.Get("normalization"), resume = options.Get("resume");
    std::optional<Normalization> changed;
    if (!normalization.IsUndefined()) {
      const Napi::Object object = object_of(normalization, "normalization");
      changed = {number_of(object.Get("mean"), "mean"), number_of(object.Get("std"), "std")};
    }
    TrainingState start;
    auto ranks = ranks_of(options.Get("ranks"), "ranks");
    // Held here and asked for again: reading `resume` may run code that disposes of this.
    const auto data = request();
    const auto model = model_;
    if (!resume.IsUndefined()) start = training_state_of(resume, model->num_classes());
    request();
    if (started_) throw Error("MODEL_BUSY", "Expected a training that has not begun for start but received another");
    const auto busy = model->begin_training();
    // Only now, when nothing can be refused any more, does the model change.
    started_ = true;
    if (changed) model->set_normalization(*changed);
    if (!start.optimizer.parameters.empty()) model->set_parameters(start.optimizer.parameters);
    return start_thread(info.Env(), {model, busy, data, std::move(start), std::move(ranks)}, on_event, run_);
  });
}

void FitClass::JS_stop(const Napi::CallbackInfo&) { run_->stop.store(true); }

void FitClass::JS_halt(const Napi::CallbackInfo&) { run_->halt(); }

// A run under way is stopped, and keeps what it needs until it has.
void FitClass::JS_dispose(const Napi::CallbackInfo&) {
  run_->stop.store(true);
  request_.reset();
  model_.reset();
  memory_.reset();
}

}  // namespace lenet5::addon
