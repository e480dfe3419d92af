#include "runtime.h"

#include "../kernels/lenet5_kernels.h"
#include "checked.h"
#include "js_error.h"

namespace lenet5::addon {

namespace {

constexpr int64_t kMaxThreads = 4096;

}  // namespace

Napi::Array to_js(Napi::Env env, const std::vector<std::string>& values) {
  Napi::Array array = Napi::Array::New(env, values.size());
  for (uint32_t i = 0; i < values.size(); i++) array.Set(i, values[i]);
  return array;
}

int threads_of(const Napi::Value& value) { return static_cast<int>(integer_of(value, "threads", 1, kMaxThreads)); }

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
