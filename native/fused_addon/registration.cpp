// lenet5_fused.node: LeNet-5 on the fused kernels, with no dependency but the C++ runtime. What it has beyond
// addon/registration.h, by name.
#include "../addon/registration.h"

#include "../addon/js_error.h"
#include "../addon/runtime.h"
#include "../addon/threads_cell.h"
#include "../addon/type_tag.h"
#include "../kernels/lenet5_kernels.h"
#include "../lenet5/default_threads.h"
#include "../loader/platform.h"

namespace lenet5::addon {

const uint64_t kAddonTag = 0x5d0f7c31e8b2a946;

namespace {

ThreadsCell threads{0};

void set_process_threads(const Napi::CallbackInfo& info) {
  with_js_errors(info.Env(), [&] {
    const int number = threads_of(info[0]);
    kernels::set_num_threads(number);
    threads.store(number);
  });
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  // Once a process: a second worker_thread must not take back what the first has set.
  static const bool once = [] {
    // Node closes an addon when the worker_thread that opened it ends; the kernels' threads live on, and so must their
    // code.
    loader::pin_self();
    threads.store(default_threads());
    kernels::set_num_threads(threads);
    return true;
  }();
  (void)once;
  set_lenet5_exports(env, exports);
  set_function(env, exports, "getNumThreads", get_threads);
  set_function(env, exports, "setNumThreads", set_process_threads);
  auto cell = Napi::External<ThreadsCell>::New(env, &threads);
  cell.TypeTag(&kThreadsCellTag);
  exports.Set("threadsCell", cell);
  return exports;
}

}  // namespace

}  // namespace lenet5::addon

static Napi::Object initialise(Napi::Env env, Napi::Object exports) { return lenet5::addon::init(env, exports); }

NODE_API_MODULE(lenet5_fused, initialise)
