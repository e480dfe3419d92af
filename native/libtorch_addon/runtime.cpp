#include "runtime.h"

#include <torch/version.h>

#include "../addon/checked.h"
#include "../addon/js_error.h"
#include "../addon/runtime.h"
#include "../addon/threads_cell.h"
#include "../core/device.h"
#include "../core/device_graph.h"
#include "../core/libtorch_threads.h"

namespace lenet5::addon {

const char* libtorch_version() { return TORCH_VERSION; }

Napi::Value devices(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value { return to_js(info.Env(), available_devices()); });
}

Napi::Value cuda(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return with_js_errors(env, [&]() -> Napi::Value {
    Napi::Object result = Napi::Object::New(env);
    const std::string problem = cuda_problem();
    if (!problem.empty()) result.Set("problem", problem);
    const DeviceGraphReport graphs = device_graph_report();
    result.Set("graphs", graphs.available);
    result.Set("replays", static_cast<double>(graphs.replays));
    if (!graphs.problem.empty()) result.Set("graphProblem", graphs.problem);
    return result;
  });
}

Napi::Value get_libtorch_threads(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value { return Napi::Number::New(info.Env(), libtorch_threads()); });
}

void follow_threads(const Napi::CallbackInfo& info) {
  with_js_errors(info.Env(), [&] {
    if (info[0].IsExternal()) {
      const auto cell = info[0].As<Napi::External<ThreadsCell>>();
      if (cell.CheckTypeTag(&kThreadsCellTag)) return follow_libtorch_threads(cell.Data());
    }
    throw Error("INVALID_ARGUMENT",
                "Expected a number of threads to follow for cell but received " + describe(info[0]));
  });
}

}  // namespace lenet5::addon
