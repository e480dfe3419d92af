#include "runtime.h"

#include <ATen/Parallel.h>
#include <torch/version.h>

#include <string>
#include <vector>

#include "../core/device.h"
#include "../core/libtorch_engine.h"
#include "../core/libtorch_threads.h"
#include "../kernels/lenet5_kernels.h"
#include "checked.h"
#include "js_error.h"

namespace lenet5::addon {

namespace {

constexpr int64_t kMaxThreads = 4096;

Napi::Array to_js(Napi::Env env, const std::vector<std::string>& values) {
  Napi::Array array = Napi::Array::New(env, values.size());
  for (uint32_t i = 0; i < values.size(); i++) array.Set(i, values[i]);
  return array;
}

}  // namespace

void set_up_process() {
  // A second worker_thread must not take back what the first has set.
  static const bool once = [] {
    plug_in_libtorch_engine();
    // libtorch's own default (the physical cores, or OMP_NUM_THREADS) rules the kernels too.
    kernels::set_num_threads(at::get_num_threads());
    return true;
  }();
  (void)once;
}

const char* libtorch_version() { return TORCH_VERSION; }

Napi::Value devices(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value { return to_js(info.Env(), available_devices()); });
}

void set_threads(const Napi::CallbackInfo& info) {
  with_js_errors(info.Env(), [&] {
    const auto threads = static_cast<int>(integer_of(info[0], "threads", 1, kMaxThreads));
    set_libtorch_threads(threads);
    kernels::set_num_threads(threads);
  });
}

Napi::Value get_threads(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), kernels::num_threads());
}

Napi::Value instruction_sets(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    std::vector<std::string> names;
    for (kernels::InstructionSet set : kernels::supported_instruction_sets()) names.emplace_back(kernels::name(set));
    return to_js(info.Env(), names);
  });
}

}  // namespace lenet5::addon
