#include "runtime.h"

#include <torch/version.h>

#include "../addon/js_error.h"
#include "../addon/runtime.h"
#include "../core/device.h"
#include "../core/libtorch_threads.h"
#include "../kernels/lenet5_kernels.h"

namespace lenet5::addon {

const char* libtorch_version() { return TORCH_VERSION; }

Napi::Value devices(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value { return to_js(info.Env(), available_devices()); });
}

void set_all_threads(const Napi::CallbackInfo& info) {
  with_js_errors(info.Env(), [&] {
    const int threads = threads_of(info[0]);
    set_libtorch_threads(threads);
    kernels::set_num_threads(threads);
  });
}

}  // namespace lenet5::addon
