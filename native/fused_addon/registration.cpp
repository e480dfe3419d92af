// lenet5_fused.node: LeNet-5 on the fused kernels, with no dependency but the C++ runtime. What it has beyond
// addon/registration.h, by name.
#include "../addon/registration.h"

#include "../addon/runtime.h"
#include "../addon/type_tag.h"
#include "../kernels/lenet5_kernels.h"
#include "../lenet5/default_threads.h"

namespace lenet5::addon {

const uint64_t kAddonTag = 0x5d0f7c31e8b2a946;

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  // Once a process: a second worker_thread must not take back what the first has set.
  static const bool once = [] {
    kernels::set_num_threads(default_threads());
    return true;
  }();
  (void)once;
  set_lenet5_exports(env, exports);
  set_function(env, exports, "setNumThreads", set_threads);
  return exports;
}

}  // namespace

}  // namespace lenet5::addon

static Napi::Object initialise(Napi::Env env, Napi::Object exports) { return lenet5::addon::init(env, exports); }

NODE_API_MODULE(lenet5_fused, initialise)
