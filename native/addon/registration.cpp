#include "registration.h"

#include "cancellation.h"
#include "fit_class.h"
#include "lenet5_class.h"
#include "runtime.h"

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

}  // namespace

Constructors& set_lenet5_exports(Napi::Env env, Napi::Object exports) {
  auto* own = env.GetInstanceData<Constructors>();
  if (own == nullptr) env.SetInstanceData(own = new Constructors);
  const Napi::Function fit = fit_class(env);
  own->fit = Napi::Persistent(fit);
  exports.Set("LeNet5", lenet5_class(env));
  exports.Set("Fit", fit);
  exports.Set("Cancellation", cancellation_class(env));

  // The process.
  set_function(env, exports, "instructionSets", instruction_sets);
  return *own;
}

}  // namespace lenet5::addon
