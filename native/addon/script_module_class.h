// The class behind lib/script-module.ts: values in, values out. Arguments have been checked by the facade; its
// interface is NativeScriptModule in lib/native.ts. Methods that JavaScript calls are named JS_*.
#pragma once

#include <napi.h>

#include <memory>

#include "../core/script_module.h"
#include "external_memory.h"

namespace lenet5::addon {

class ScriptModuleClass : public Napi::ObjectWrap<ScriptModuleClass> {
 public:
  static void register_in(Napi::Env env, Napi::Object exports);
  // new ScriptModule(External<std::shared_ptr<ScriptModule>>), by load only.
  explicit ScriptModuleClass(const Napi::CallbackInfo& info);

 private:
  static Napi::Value JS_load(const Napi::CallbackInfo& info);
  Napi::Value JS_run(const Napi::CallbackInfo& info);
  Napi::Value JS_to(const Napi::CallbackInfo& info);
  Napi::Value JS_tensors(const Napi::CallbackInfo& info);
  Napi::Value JS_inspect(const Napi::CallbackInfo& info);
  Napi::Value JS_extraFiles(const Napi::CallbackInfo& info);
  void JS_dispose(const Napi::CallbackInfo& info);

  // Throws DISPOSED. Work under way holds the pointer it got, so that dispose() never pulls a module from under it.
  std::shared_ptr<ScriptModule> module() const;

  std::shared_ptr<ScriptModule> module_;
  std::unique_ptr<ExternalMemory> memory_;
};

void register_script_module(Napi::Env env, Napi::Object exports);

}  // namespace lenet5::addon
