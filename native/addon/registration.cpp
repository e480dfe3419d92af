// The addon's table of contents.
#include <napi.h>

#include "lenet5_class.h"
#include "runtime.h"
#include "script_module_class.h"

namespace {

class Addon : public Napi::Addon<Addon> {
 public:
  Addon(Napi::Env env, Napi::Object exports) {
    lenet5::addon::register_runtime(env, exports);
    lenet5::addon::LeNet5Class::register_in(env, exports);
    lenet5::addon::register_script_module(env, exports);
  }
};

}  // namespace

NODE_API_ADDON(Addon)
