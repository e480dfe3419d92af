// The class behind lib/compiled-module.ts: tensors in, tensors out. Its interface is NativeCompiledModule in
// lib/native/types.ts. Methods that JavaScript calls are named JS_*.
#pragma once

#include "../core/compiled_module.h"

#if LENET5_COMPILED_PACKAGES

#include <napi.h>

#include <memory>

#include "../addon/external_memory.h"

namespace lenet5::addon {

class CompiledModuleClass : public Napi::ObjectWrap<CompiledModuleClass> {
 public:
  static Napi::Function define(Napi::Env env);

  // new CompiledModule(External<CompiledPointer>), by load only.
  explicit CompiledModuleClass(const Napi::CallbackInfo& info);

  static Napi::Value JS_load(const Napi::CallbackInfo& info);
  Napi::Value JS_run(const Napi::CallbackInfo& info);
  Napi::Value JS_runSync(const Napi::CallbackInfo& info);
  Napi::Value JS_inspect(const Napi::CallbackInfo& info);
  void JS_dispose(const Napi::CallbackInfo& info);

 private:
  // Throws DISPOSED. Work under way holds the pointer it got.
  std::shared_ptr<CompiledModule> module() const;

  std::shared_ptr<CompiledModule> module_;
  std::unique_ptr<ExternalMemory> memory_;
};

}  // namespace lenet5::addon

#endif
