#include "script_module_class.h"

#include <string>
#include <utility>

#include "../addon/checked.h"
#include "script_module_tasks.h"

namespace lenet5::addon {

ScriptModuleClass::ScriptModuleClass(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ScriptModuleClass>(info) {
  with_js_errors(info.Env(), [&] {
    module_ = from_external<ModulePointer>(info[0], "new ScriptModule");
    memory_ = std::make_unique<ExternalMemory>(info.Env(), module_->bytes());
  });
}

std::shared_ptr<ScriptModule> ScriptModuleClass::module() const {
  if (!module_) throw Error("DISPOSED", "Expected a module that is still there but received a disposed one");
  return module_;
}

// load(archive, device, where)
Napi::Value ScriptModuleClass::JS_load(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    const View<uint8_t> view = view_of<uint8_t>(info[0], "archive");
    std::string archive(reinterpret_cast<const char*>(view.data), view.length);
    return AsyncTask::start(
        new LoadTask(info.Env(), std::move(archive), text_of(info[1], "device"), text_of(info[2], "where")));
  });
}

// run(method, call, keep, bigIntegers, wrap)
Napi::Value ScriptModuleClass::JS_run(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    std::string method = text_of(info[0], "method");
    const RunOptions run{boolean_of(info[2], "keep"), boolean_of(info[3], "bigIntegers")};
    const Napi::Function wrap = function_of(info[4], "wrap");
    ModulePointer held = module();
    PreparedPointer call = std::move(from_external<PreparedPointer>(info[1], "call"));
    if (!call) throw Error("INVALID_ARGUMENT", "Expected a call that has not run for call but received a used one");
    return AsyncTask::start(new RunTask(info.Env(), std::move(held), std::move(method), std::move(call), run, wrap));
  });
}

// runSync(method, positional, names, values, keep, bigIntegers, wrap): here and now.
Napi::Value ScriptModuleClass::JS_runSync(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    const std::string method = text_of(info[0], "method");
    const RunOptions run{boolean_of(info[4], "keep"), boolean_of(info[5], "bigIntegers")};
    const Napi::Function wrap = function_of(info[6], "wrap");
    // Reading the arguments may run JavaScript, which may dispose of this: the module is taken afterwards.
    Arguments arguments = arguments_of(info[1], info[2], info[3]);
    const lenet5::Value result = module()->run(method, std::move(arguments), run.keep);
    return to_js(info.Env(), result, {wrap, run.big_integers});
  });
}

// to(device)
Napi::Value ScriptModuleClass::JS_to(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    return AsyncTask::start(new MoveTask(info.Env(), module(), text_of(info[0], "device")));
  });
}

// tensors("parameters" | "buffers", keep, wrap)
Napi::Value ScriptModuleClass::JS_tensors(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    const bool buffers = text_of(info[0], "which") == "buffers";
    return AsyncTask::start(
        new TensorsTask(info.Env(), module(), buffers, boolean_of(info[1], "keep"), function_of(info[2], "wrap")));
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
    const ModulePointer held = module();
    for (const auto& [name, contents] : held->extra_files()) {
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

}  // namespace lenet5::addon
