#include "torchscript_files.h"

#include <string>

#include "checked.h"
#include "lenet5_tasks.h"

namespace lenet5::addon {

namespace {

std::string bytes_of(const Napi::Value& value) {
  const View<uint8_t> view = view_of<uint8_t>(value, "archive");
  return std::string(reinterpret_cast<const char*>(view.data), view.length);
}

}  // namespace

Napi::Value verify_torchscript_file(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    const WeightsPointer& weights = from_external<WeightsPointer>(info[1], "weights");
    return AsyncTask::start(new VerifyTask(info.Env(), weights, bytes_of(info[0])));
  });
}

}  // namespace lenet5::addon
