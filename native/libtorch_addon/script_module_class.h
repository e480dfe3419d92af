// The class behind lib/script-module.ts: values in, values out. Its interface is NativeScriptModule in
// lib/native/types.ts. Methods that JavaScript calls are named JS_*; what they do off the event loop is in
// script_module_tasks.h.
#pragma once

#include <napi.h>

#include <memory>

#include "../addon/external_memory.h"
#include "../core/script_module.h"

namespace lenet5::addon {

class ScriptModuleClass : public Napi::ObjectWrap<ScriptModuleClass> {
 public:
  // new ScriptModule(External<ModulePointer>), by load only.
  explicit ScriptModuleClass(const Napi::CallbackInfo& info);

  static Napi::Value JS_load(const Napi::CallbackInfo& info);
  Napi::Value JS_run(const Napi::CallbackInfo& info);
  Napi::Value JS_runSync(const Napi::CallbackInfo& info);
  Napi::Value JS_runIfShort(const Napi::CallbackInfo& info);
  Napi::Value JS_runPreparedIfShort(const Napi::CallbackInfo& info);
  Napi::Value JS_to(const Napi::CallbackInfo& info);
  Napi::Value JS_tensors(const Napi::CallbackInfo& info);
  Napi::Value JS_inspect(const Napi::CallbackInfo& info);
  Napi::Value JS_extraFiles(const Napi::CallbackInfo& info);
  void JS_dispose(const Napi::CallbackInfo& info);

 private:
  // Throws DISPOSED. Work under way holds the pointer it got, so that dispose() never pulls a module from under it.
  std::shared_ptr<ScriptModule> module() const;

  std::shared_ptr<ScriptModule> module_;
  std::unique_ptr<ExternalMemory> memory_;
};

}  // namespace lenet5::addon
