// The addon's table of contents: all that JavaScript gets, by name. The TypeScript side of it is lib/native/types.ts.
#include <napi.h>

#include "cancellation.h"
#include "constructors.h"
#include "fit_class.h"
#include "lenet5_class.h"
#include "prepared_call.h"
#include "runtime.h"
#include "script_module_class.h"
#include "tensor_handle.h"
#include "torchscript_files.h"

namespace lenet5::addon {

namespace {

Napi::Function lenet5_class(Napi::Env env) {
  using C = LeNet5Class;
  return C::DefineClass(env, "LeNet5",
                        {
                            C::InstanceAccessor<&C::JS_device>("device"),
                            C::InstanceAccessor<&C::JS_engine>("engine"),
                            C::InstanceAccessor<&C::JS_instructionSet>("instructionSet"),
                            C::InstanceMethod<&C::JS_predictSync>("predictSync"),
                            C::InstanceMethod<&C::JS_predict>("predict"),
                            C::InstanceMethod<&C::JS_evaluate>("evaluate"),
                            C::InstanceMethod<&C::JS_gradients>("gradients"),
                            C::InstanceMethod<&C::JS_prepareFit>("prepareFit"),
                            C::InstanceMethod<&C::JS_parameters>("parameters"),
                            C::InstanceMethod<&C::JS_setParameters>("setParameters"),
                            C::InstanceMethod<&C::JS_exportTorchScript>("exportTorchScript"),
                            C::InstanceMethod<&C::JS_dispose>("dispose"),
                        });
}

Napi::Function fit_class(Napi::Env env) {
  using C = FitClass;
  return C::DefineClass(env, "Fit",
                        {
                            C::InstanceMethod<&C::JS_survey>("survey"),
                            C::InstanceMethod<&C::JS_start>("start"),
                            C::InstanceMethod<&C::JS_stop>("stop"),
                            C::InstanceMethod<&C::JS_halt>("halt"),
                            C::InstanceMethod<&C::JS_dispose>("dispose"),
                        });
}

Napi::Function cancellation_class(Napi::Env env) {
  using C = CancellationClass;
  return C::DefineClass(env, "Cancellation", {C::InstanceMethod<&C::JS_cancel>("cancel")});
}

Napi::Function script_module_class(Napi::Env env) {
  using C = ScriptModuleClass;
  return C::DefineClass(env, "ScriptModule",
                        {
                            C::StaticMethod<&C::JS_load>("load"),
                            C::InstanceMethod<&C::JS_run>("run"),
                            C::InstanceMethod<&C::JS_to>("to"),
                            C::InstanceMethod<&C::JS_tensors>("tensors"),
                            C::InstanceMethod<&C::JS_inspect>("inspect"),
                            C::InstanceMethod<&C::JS_extraFiles>("extraFiles"),
                            C::InstanceMethod<&C::JS_dispose>("dispose"),
                        });
}

template <typename Callback>
void set_function(Napi::Env env, Napi::Object exports, const char* name, Callback callback) {
  exports.Set(name, Napi::Function::New(env, callback, name));
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  set_up_process();
  // A process with two copies of the package (ES modules and CommonJS) comes here twice with one environment.
  auto* own = env.GetInstanceData<Constructors>();
  if (own == nullptr) env.SetInstanceData(own = new Constructors);

  const Napi::Function fit = fit_class(env), script_module = script_module_class(env);
  own->fit = Napi::Persistent(fit);
  own->script_module = Napi::Persistent(script_module);
  exports.Set("LeNet5", lenet5_class(env));
  exports.Set("Fit", fit);
  exports.Set("Cancellation", cancellation_class(env));
  exports.Set("ScriptModule", script_module);

  // LeNet-5's TorchScript files.
  set_function(env, exports, "verifyTorchScript", verify_torchscript_file);

  // Arguments and results of script modules.
  set_function(env, exports, "prepareCall", prepare_call);
  set_function(env, exports, "dropCall", drop_call);
  set_function(env, exports, "createTensor", create_tensor);
  set_function(env, exports, "readTensor", read_tensor);
  set_function(env, exports, "disposeTensor", dispose_tensor);

  // The process.
  exports.Set("libtorchVersion", libtorch_version());
  set_function(env, exports, "devices", devices);
  set_function(env, exports, "setNumThreads", set_threads);
  set_function(env, exports, "getNumThreads", get_threads);
  set_function(env, exports, "instructionSets", instruction_sets);
  return exports;
}

}  // namespace

}  // namespace lenet5::addon

static Napi::Object initialise(Napi::Env env, Napi::Object exports) { return lenet5::addon::init(env, exports); }

NODE_API_MODULE(lenet5_core, initialise)
