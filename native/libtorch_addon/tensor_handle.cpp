#include "tensor_handle.h"

#include <ATen/ATen.h>

#include <memory>
#include <string>
#include <utility>

#include "../addon/async_task.h"
#include "../addon/external.h"
#include "../addon/external_memory.h"
#include "../core/device.h"
#include "../core/dtype.h"
#include "../core/ivalue.h"
#include "../lenet5/error.h"
#include "js_value.h"

namespace lenet5::addon {

// A tensor and what the garbage collector knows of its weight; both gone once it was disposed of.
struct Kept {
  Kept(napi_env env, at::Tensor kept)
      : tensor(std::move(kept)), memory(std::make_unique<ExternalMemory>(env, bytes_of_tensor(tensor))) {}

  at::Tensor tensor;
  std::unique_ptr<ExternalMemory> memory;
};

template <>
struct ExternalKind<Kept> {
  static constexpr napi_type_tag tag{0x6c656e6574356c69, 0x746f7263684b6570};
  static constexpr const char* name = "a tensor in native memory";
};

namespace {

class CreateTensorTask : public AsyncTask {
 public:
  CreateTensorTask(Napi::Env env, at::Tensor tensor, std::string device, const Napi::Function& wrap)
      : AsyncTask(env), tensor_(std::move(tensor)), device_(std::move(device)), wrap_(Napi::Persistent(wrap)) {}

 private:
  void Run() override { tensor_ = tensor_.to(resolve_device(device_)); }
  Napi::Value Result(Napi::Env env) override { return wrap_tensor(env, tensor_, wrap_.Value()); }

  at::Tensor tensor_;
  std::string device_;
  Napi::FunctionReference wrap_;
};

class ReadTensorTask : public AsyncTask {
 public:
  ReadTensorTask(Napi::Env env, at::Tensor tensor) : AsyncTask(env), tensor_(std::move(tensor)) {}

 private:
  void Run() override {
    Value value{TensorValue{readable(tensor_), false}};
    tensor_.reset();
    make_unshared(value);
    tensor_ = std::move(std::get<TensorValue>(value.data).tensor);
  }
  Napi::Value Result(Napi::Env env) override { return tensor_to_js(env, tensor_); }

  at::Tensor tensor_;
};

}  // namespace

Napi::Value create_tensor(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    Value value = from_js(info[0]);
    auto* tensor = std::get_if<TensorValue>(&value.data);
    if (!tensor) throw Error("INVALID_ARGUMENT", "Expected a tensor for tensor but received " + describe(value));
    return AsyncTask::start(
        new CreateTensorTask(info.Env(), tensor->tensor, text_of(info[1], "device"), function_of(info[2], "wrap")));
  });
}

Napi::Value read_tensor(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    return AsyncTask::start(new ReadTensorTask(info.Env(), tensor_of(info[0])));
  });
}

void dispose_tensor(const Napi::CallbackInfo& info) {
  with_js_errors(info.Env(), [&] {
    Kept& kept = from_external<Kept>(info[0], "tensor");
    kept.tensor.reset();
    kept.memory.reset();
  });
}

Napi::Value wrap_tensor(Napi::Env env, const at::Tensor& tensor, const Napi::Function& wrap) {
  const Napi::Value handle = to_external(env, std::make_unique<Kept>(env, tensor));
  return wrap.Call({handle, shape_to_js(env, tensor.sizes()), Napi::String::New(env, dtype_name(tensor.scalar_type())),
                    Napi::String::New(env, tensor.device().str())});
}

at::Tensor tensor_of(const Napi::Value& handle) {
  const at::Tensor& tensor = from_external<Kept>(handle, "a TensorHandle").tensor;
  if (!tensor.defined()) throw Error("DISPOSED", "Expected a tensor that is still there but received a disposed one");
  return tensor;
}

}  // namespace lenet5::addon
