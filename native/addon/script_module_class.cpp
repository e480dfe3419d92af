#include "script_module_class.h"

#include <string>
#include <utility>

#include "../core/error.h"
#include "async_task.h"
#include "js_value.h"
#include "script_inspection_js.h"
#include "tensor_handle.h"

namespace lenet5::addon {
namespace {

using ModulePointer = std::shared_ptr<ScriptModule>;

class LoadTask : public AsyncTask {
 public:
  LoadTask(const Napi::CallbackInfo& info)
      : AsyncTask(info.Env()),
        constructor_(Napi::Persistent(info.This().As<Napi::Function>())),
        archive_(Napi::Persistent(info[0].As<Napi::Object>())),
        device_(info[1].As<Napi::String>()),
        where_(info[2].As<Napi::String>()) {
    const auto bytes = info[0].As<Napi::Uint8Array>();
    bytes_ = reinterpret_cast<const char*>(bytes.Data());
    size_ = bytes.ByteLength();
  }

 private:
  void Run() override { module_ = ScriptModule::load(bytes_, size_, device_, where_); }
  Napi::Value Result(Napi::Env env) override {
    return constructor_.New({Napi::External<ModulePointer>::New(env, &module_)});
  }

  Napi::FunctionReference constructor_;
  // Keeps the bytes alive; nobody else has this array.
  Napi::ObjectReference archive_;
  const char* bytes_;
  size_t size_;
  std::string device_;
  std::string where_;
  ModulePointer module_;
};

// One call's arguments, between the moment of the call and that of its run.
struct PreparedCall {
  PreparedCall(napi_env env, Arguments arguments, int64_t bytes)
      : arguments(std::move(arguments)), memory(env, bytes) {}
  Arguments arguments;
  ExternalMemory memory;
};
using PreparedPointer = std::unique_ptr<PreparedCall>;

struct RunOptions {
  explicit RunOptions(const Napi::Object& options)
      : keep(options.Get("keep").ToBoolean()), big_integers(options.Get("bigIntegers").ToBoolean()) {}
  bool keep;
  bool big_integers;
};

class RunTask : public AsyncTask {
 public:
  RunTask(Napi::Env env, ModulePointer module, std::string method, PreparedPointer call, RunOptions options,
          const Napi::Function& wrap)
      : AsyncTask(env),
        module_(std::move(module)),
        method_(std::move(method)),
        call_(std::move(call)),
        options_(options),
        wrap_(Napi::Persistent(wrap)) {}

 private:
  void Run() override { result_ = module_->run(method_, std::move(call_->arguments), options_.keep); }
  Napi::Value Result(Napi::Env env) override { return to_js(env, result_, {wrap_.Value(), options_.big_integers}); }

  ModulePointer module_;
  std::string method_;
  PreparedPointer call_;
  RunOptions options_;
  Napi::FunctionReference wrap_;
  Value result_;
};

class MoveTask : public AsyncTask {
 public:
  MoveTask(Napi::Env env, ModulePointer module, std::string device)
      : AsyncTask(env), module_(std::move(module)), device_(std::move(device)) {}

 private:
  void Run() override { inspection_ = module_->to(device_); }
  Napi::Value Result(Napi::Env env) override { return inspection_to_js(env, inspection_); }

  ModulePointer module_;
  std::string device_;
  Inspection inspection_;
};

class TensorsTask : public AsyncTask {
 public:
  TensorsTask(Napi::Env env, ModulePointer module, bool buffers, bool keep, const Napi::Function& wrap)
      : AsyncTask(env), module_(std::move(module)), buffers_(buffers), keep_(keep), wrap_(Napi::Persistent(wrap)) {}

 private:
  void Run() override { result_ = buffers_ ? module_->buffers(keep_) : module_->parameters(keep_); }
  Napi::Value Result(Napi::Env env) override { return to_js(env, result_, {wrap_.Value(), false}); }

  ModulePointer module_;
  bool buffers_;
  bool keep_;
  Napi::FunctionReference wrap_;
  Value result_;
};

// prepareCall(positional, names, values): copies the arguments of a call that may have to wait for its turn.
Napi::Value JS_prepareCall(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    Arguments arguments;
    int64_t bytes = 0;
    Value positional = from_js(info[0]);
    Value names = from_js(info[1]);
    Value values = from_js(info[2]);
    bytes = bytes_of(positional) + bytes_of(values);
    arguments.positional = std::move(std::get<Sequence>(positional.data).items);
    auto& keys = std::get<Sequence>(names.data).items;
    auto& items = std::get<Sequence>(values.data).items;
    for (size_t i = 0; i < keys.size(); ++i) {
      arguments.keywords.emplace_back(std::get<std::string>(keys[i].data), std::move(items.at(i)));
    }
    auto* held = new PreparedPointer(new PreparedCall(info.Env(), std::move(arguments), bytes));
    return Napi::External<PreparedPointer>::New(info.Env(), held,
                                                [](Napi::BasicEnv, PreparedPointer* each) { delete each; });
  });
}

// dropCall(call): for a call that will not run.
void JS_dropCall(const Napi::CallbackInfo& info) { info[0].As<Napi::External<PreparedPointer>>().Data()->reset(); }

}  // namespace

ScriptModuleClass::ScriptModuleClass(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ScriptModuleClass>(info) {
  if (!info[0].IsExternal()) throw Napi::TypeError::New(info.Env(), "a ScriptModule comes from load");
  module_ = *info[0].As<Napi::External<ModulePointer>>().Data();
  memory_ = std::make_unique<ExternalMemory>(info.Env(), module_->bytes());
}

std::shared_ptr<ScriptModule> ScriptModuleClass::module() const {
  if (!module_) throw Error("DISPOSED", "Expected a module that is still there but received a disposed one");
  return module_;
}

Napi::Value ScriptModuleClass::JS_load(const Napi::CallbackInfo& info) { return AsyncTask::start(new LoadTask(info)); }

// run(method, call, { keep, bigIntegers }, wrap)
Napi::Value ScriptModuleClass::JS_run(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    PreparedPointer call = std::move(*info[1].As<Napi::External<PreparedPointer>>().Data());
    if (!call) throw Error("INVALID_ARGUMENT", "Expected a call that has not run for call but received a used one");
    return AsyncTask::start(new RunTask(info.Env(), module(), info[0].As<Napi::String>(), std::move(call),
                                        RunOptions(info[2].As<Napi::Object>()), info[3].As<Napi::Function>()));
  });
}

Napi::Value ScriptModuleClass::JS_to(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    return AsyncTask::start(new MoveTask(info.Env(), module(), info[0].As<Napi::String>()));
  });
}

// tensors("parameters" | "buffers", keep, wrap)
Napi::Value ScriptModuleClass::JS_tensors(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    const bool buffers = info[0].As<Napi::String>().Utf8Value() == "buffers";
    return AsyncTask::start(
        new TensorsTask(info.Env(), module(), buffers, info[1].ToBoolean(), info[2].As<Napi::Function>()));
  });
}

Napi::Value ScriptModuleClass::JS_inspect(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value { return inspection_to_js(info.Env(), module()->inspect()); });
}

// Name → contents.
Napi::Value ScriptModuleClass::JS_extraFiles(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    Napi::Array files = Napi::Array::New(info.Env());
    uint32_t count = 0;
    for (const auto& [name, contents] : module()->extra_files()) {
      Napi::Array file = Napi::Array::New(info.Env(), 2);
      file.Set(0u, name);
      file.Set(1u, Napi::Buffer<char>::Copy(info.Env(), contents.data(), contents.size()));
      files.Set(count++, file);
    }
    return files;
  });
}

void ScriptModuleClass::JS_dispose(const Napi::CallbackInfo&) {
  module_.reset();
  memory_.reset();
}

void ScriptModuleClass::register_in(Napi::Env env, Napi::Object exports) {
  using Class = ScriptModuleClass;
  exports.Set("ScriptModule", DefineClass(env, "ScriptModule",
                                          {
                                              StaticMethod<&Class::JS_load>("load"),
                                              InstanceMethod<&Class::JS_run>("run"),
                                              InstanceMethod<&Class::JS_to>("to"),
                                              InstanceMethod<&Class::JS_tensors>("tensors"),
                                              InstanceMethod<&Class::JS_inspect>("inspect"),
                                              InstanceMethod<&Class::JS_extraFiles>("extraFiles"),
                                              InstanceMethod<&Class::JS_dispose>("dispose"),
                                          }));
}

void register_script_module(Napi::Env env, Napi::Object exports) {
  ScriptModuleClass::register_in(env, exports);
  exports.Set("prepareCall", Napi::Function::New(env, JS_prepareCall, "prepareCall"));
  exports.Set("dropCall", Napi::Function::New(env, JS_dropCall, "dropCall"));
  register_tensor_handle(env, exports);
}

}  // namespace lenet5::addon
