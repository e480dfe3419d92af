#include "runtime.h"

#include <ATen/Parallel.h>
#include <torch/version.h>

#include <string>
#include <vector>

#include "../core/device.h"
#include "../kernels/lenet5_kernels.h"
#include "js_error.h"

namespace lenet5::addon {

namespace {

Napi::Array to_js(Napi::Env env, const std::vector<std::string>& values) {
  Napi::Array array = Napi::Array::New(env, values.size());
  for (uint32_t i = 0; i < values.size(); i++) array.Set(i, values[i]);
  return array;
}

Napi::Value devices(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value { return to_js(info.Env(), available_devices()); });
}

void set_num_threads(const Napi::CallbackInfo& info) {
  const int threads = info[0].As<Napi::Number>().Int32Value();
  at::set_num_threads(threads);
  kernels::set_num_threads(threads);
}

Napi::Value get_num_threads(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), kernels::num_threads());
}

Napi::Value instruction_sets(const Napi::CallbackInfo& info) {
  std::vector<std::string> names;
  for (kernels::InstructionSet set : kernels::supported_instruction_sets()) names.emplace_back(kernels::name(set));
  return to_js(info.Env(), names);
}

}  // namespace

void register_runtime(Napi::Env env, Napi::Object exports) {
  // libtorch's own default (the physical cores, or OMP_NUM_THREADS) rules the kernels too. Once a process: a second
  // worker_thread must not take back what the first has set.
  static const bool once = [] {
    kernels::set_num_threads(at::get_num_threads());
    return true;
  }();
  (void)once;
  exports.Set("libtorchVersion", TORCH_VERSION);
  exports.Set("devices", Napi::Function::New(env, devices, "devices"));
  exports.Set("setNumThreads", Napi::Function::New(env, set_num_threads, "setNumThreads"));
  exports.Set("getNumThreads", Napi::Function::New(env, get_num_threads, "getNumThreads"));
  exports.Set("instructionSets", Napi::Function::New(env, instruction_sets, "instructionSets"));
}

}  // namespace lenet5::addon
