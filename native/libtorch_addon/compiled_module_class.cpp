#include "compiled_module_class.h"

#if LENET5_COMPILED_PACKAGES

#include <string>
#include <utility>

#include "../addon/async_task.h"
#include "../addon/checked.h"
#include "../addon/constructors.h"
#include "../addon/external.h"
#include "../core/compute_threads.h"
#include "../core/libtorch_threads.h"
#include "js_value.h"
#include "prepared_call.h"
#include "run_task.h"
#include "script_inspection_js.h"

namespace lenet5::addon {

using CompiledPointer = std::shared_ptr<CompiledModule>;

// What a CompiledModuleClass is made of.
template <>
struct ExternalKind<CompiledPointer> {
  static constexpr napi_type_tag tag{0x4be2907d51c8f36a, 0x91d5c07ae3f2846b};
  static constexpr const char* name = "a compiled module";
};

namespace {

constexpr int64_t kMostRunners = 1024;

class LoadCompiledTask : public AsyncTask {
 public:
  LoadCompiledTask(Napi::Env env, CompiledRequest request) : AsyncTask(env), request_(std::move(request)) {}

 private:
  void Run() override {
    const LentThread lent;
    module_ = CompiledModule::load(request_);
  }
  Napi::Value Result(Napi::Env env) override {
    return constructors(env).compiled_module.New({to_external(env, std::make_unique<CompiledPointer>(module_))});
  }

  CompiledRequest request_;
  CompiledPointer module_;
};

}  // namespace

Napi::Function CompiledModuleClass::define(Napi::Env env) {
  using C = CompiledModuleClass;
  return DefineClass(env, "CompiledModule",
                     {
                         StaticMethod<&C::JS_load>("load"),
                         InstanceMethod<&C::JS_run>("run"),
                         InstanceMethod<&C::JS_runSync>("runSync"),
                         InstanceMethod<&C::JS_inspect>("inspect"),
                         InstanceMethod<&C::JS_dispose>("dispose"),
                     });
}

CompiledModuleClass::CompiledModuleClass(const Napi::CallbackInfo& info) : Napi::ObjectWrap<CompiledModuleClass>(info) {
  with_js_errors(info.Env(), [&] {
    module_ = from_external<CompiledPointer>(info[0], "new CompiledModule");
    memory_ = std::make_unique<ExternalMemory>(info.Env(), module_->bytes());
  });
}

std::shared_ptr<CompiledModule> CompiledModuleClass::module() const {
  if (!module_) throw Error("DISPOSED", "Expected a module that is still there but received a disposed one");
  return module_;
}

// load({ folder, model, device, madeFor, instructions, runners, where })
Napi::Value CompiledModuleClass::JS_load(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    const Napi::Object given = object_of(info[0], "request");
    CompiledRequest request;
    request.folder = text_of(given.Get("folder"), "folder");
    request.model = text_of(given.Get("model"), "model");
    request.device = text_of(given.Get("device"), "device");
    request.made_for = text_of(given.Get("madeFor"), "madeFor");
    request.instructions = text_of(given.Get("instructions"), "instructions");
    request.runners = static_cast<size_t>(integer_of(given.Get("runners"), "runners", 1, kMostRunners));
    request.where = text_of(given.Get("where"), "where");
    CompiledModule::turn_input_checks_on();
    return AsyncTask::start(new LoadCompiledTask(info.Env(), std::move(request)));
  });
}

// run(call, keep, wrap)
Napi::Value CompiledModuleClass::JS_run(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    const bool keep = boolean_of(info[1], "keep");
    const Napi::Function wrap = function_of(info[2], "wrap");
    CompiledPointer held = module();
    PreparedPointer call = take_call(info[0]);
    held->before_run();
    // As for a script module's call.
    dismiss_used_team();
    const auto work = [keep](CompiledModule& called, Arguments arguments) {
      return called.run(std::move(arguments), keep);
    };
    return AsyncTask::start(
        new RunTask<CompiledModule>(info.Env(), std::move(held), std::move(call), work, false, wrap));
  });
}

// runSync(names, tensors, keep, wrap): here and now.
Napi::Value CompiledModuleClass::JS_runSync(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    const bool keep = boolean_of(info[2], "keep");
    const Napi::Function wrap = function_of(info[3], "wrap");
    // Reading the arguments may run JavaScript, which may dispose of this: the module is taken afterwards.
    Arguments arguments = arguments_of(Napi::Array::New(info.Env()), info[0], info[1]);
    const CompiledPointer held = module();
    held->before_run();
    dismiss_compute_teams();
    const lenet5::Value result = held->run(std::move(arguments), keep);
    return to_js(info.Env(), result, {wrap, false});
  });
}

// { device, constants, inputs, outputs }
Napi::Value CompiledModuleClass::JS_inspect(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    const CompiledPointer held = module();
    const CompiledInspection& found = held->inspect();
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("device", found.device);
    object.Set("constants", tensors_to_js(info.Env(), found.constants));
    object.Set("inputs", found.inputs);
    object.Set("outputs", found.outputs);
    return object;
  });
}

void CompiledModuleClass::JS_dispose(const Napi::CallbackInfo&) {
  module_.reset();
  memory_.reset();
}

}  // namespace lenet5::addon

#endif
