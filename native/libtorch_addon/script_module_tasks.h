// What ScriptModuleClass does off the event loop, one task a method. A task holds the module it got and the arguments
// that were copied for it.
#pragma once

#include <napi.h>

#include <memory>
#include <string>
#include <utility>

#include "../addon/async_task.h"
#include "../addon/constructors.h"
#include "../addon/external.h"
#include "../core/script_module.h"
#include "js_value.h"
#include "run_task.h"
#include "script_inspection_js.h"

namespace lenet5::addon {

using ModulePointer = std::shared_ptr<ScriptModule>;

// What a ScriptModuleClass is made of.
template <>
struct ExternalKind<ModulePointer> {
  static constexpr napi_type_tag tag{0xa7c3e95b1f0d8264, 0x36f8b1d4e2c7905a};
  static constexpr const char* name = "a loaded module";
};

class LoadTask : public AsyncTask {
 public:
  LoadTask(Napi::Env env, Archive archive, std::string device, std::string where)
      : AsyncTask(env), archive_(std::move(archive)), device_(std::move(device)), where_(std::move(where)) {}

 private:
  void Run() override {
    const LentThread lent;
    module_ = ScriptModule::load(std::move(archive_), device_, where_);
  }
  Napi::Value Result(Napi::Env env) override {
    return constructors(env).script_module.New({to_external(env, std::make_unique<ModulePointer>(module_))});
  }

  Archive archive_;
  std::string device_, where_;
  ModulePointer module_;
};

class MoveTask : public AsyncTask {
 public:
  MoveTask(Napi::Env env, ModulePointer module, std::string device)
      : AsyncTask(env), module_(std::move(module)), device_(std::move(device)) {}

 private:
  void Run() override {
    const LentThread lent;
    inspection_ = module_->to(device_);
  }
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
  void Run() override {
    const LentThread lent;
    result_ = buffers_ ? module_->buffers(keep_) : module_->parameters(keep_);
  }
  Napi::Value Result(Napi::Env env) override { return to_js(env, result_, {wrap_.Value(), false}); }

  ModulePointer module_;
  bool buffers_;
  bool keep_;
  Napi::FunctionReference wrap_;
  Value result_;
};

}  // namespace lenet5::addon
