// lenet5_core: what needs libtorch. What it has beyond addon/registration.h, by name.
#include "../addon/registration.h"

#include "../addon/type_tag.h"
#include "../core/libtorch_engine.h"
#include "compiled_module_class.h"
#include "prepared_call.h"
#include "ranks.h"
#include "runtime.h"
#include "script_module_class.h"
#include "tensor_handle.h"
#include "torchscript_files.h"

namespace lenet5::addon {

const uint64_t kAddonTag = 0xb81e46d29f03c75a;

namespace {

Napi::Function script_module_class(Napi::Env env) {
  using C = ScriptModuleClass;
  return C::DefineClass(env, "ScriptModule",
                        {
                            C::StaticMethod<&C::JS_load>("load"),
                            C::InstanceMethod<&C::JS_run>("run"),
                            C::InstanceMethod<&C::JS_runSync>("runSync"),
                            C::InstanceMethod<&C::JS_runIfShort>("runIfShort"),
                            C::InstanceMethod<&C::JS_runPreparedIfShort>("runPreparedIfShort"),
                            C::InstanceMethod<&C::JS_to>("to"),
                            C::InstanceMethod<&C::JS_tensors>("tensors"),
                            C::InstanceMethod<&C::JS_inspect>("inspect"),
                            C::InstanceMethod<&C::JS_extraFiles>("extraFiles"),
                            C::InstanceMethod<&C::JS_dispose>("dispose"),
                        });
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  static const bool once = [] {
    plug_in_libtorch_engine();
    return true;
  }();
  (void)once;
  Constructors& own = set_lenet5_exports(env, exports);
  const Napi::Function script_module = script_module_class(env);
  own.script_module = Napi::Persistent(script_module);
  exports.Set("ScriptModule", script_module);

#if LENET5_COMPILED_PACKAGES
  const Napi::Function compiled_module = CompiledModuleClass::define(env);
  own.compiled_module = Napi::Persistent(compiled_module);
  exports.Set("CompiledModule", compiled_module);
#endif

  // LeNet-5's TorchScript files.
  set_function(env, exports, "exportTorchScript", export_torchscript_file);
  set_function(env, exports, "verifyTorchScript", verify_torchscript_file);

  // Arguments and results of script modules.
  set_function(env, exports, "prepareCall", prepare_call);
  set_function(env, exports, "dropCall", drop_call);
  set_function(env, exports, "createTensor", create_tensor);
  set_function(env, exports, "readTensor", read_tensor);
  set_function(env, exports, "disposeTensor", dispose_tensor);

  // The ranks of a distributed training.
  set_function(env, exports, "joinRanks", join_ranks);
  set_function(env, exports, "awaitRanks", await_ranks);
  set_function(env, exports, "stopJoining", stop_joining);
  set_function(env, exports, "leaveRanks", leave_ranks);
  set_function(env, exports, "freeRanks", free_ranks);

  // The process.
  exports.Set("libtorchVersion", libtorch_version());
  set_function(env, exports, "devices", devices);
  set_function(env, exports, "cuda", cuda);
  set_function(env, exports, "getNumThreads", get_libtorch_threads);
  set_function(env, exports, "followThreads", follow_threads);
  return exports;
}

}  // namespace

}  // namespace lenet5::addon

static Napi::Object initialise(Napi::Env env, Napi::Object exports) { return lenet5::addon::init(env, exports); }

NODE_API_MODULE(lenet5_core, initialise)
