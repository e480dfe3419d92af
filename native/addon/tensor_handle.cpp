#include "tensor_handle.h"

#include <ATen/ATen.h>

#include <memory>
#include <string>
#include <utility>

#include "../core/device.h"
#include "../core/dtype.h"
#include "../core/error.h"
#include "../core/ivalue.h"
#include "async_task.h"
#include "external_memory.h"
#include "js_value.h"

namespace lenet5::addon {
namespace {

struct Kept {
  Kept(napi_env env, at::Tensor tensor)
      : tensor(std::move(tensor)),
        memory(std::make_unique<ExternalMemory>(env, static_cast<int64_t>(this->tensor.nbytes()))) {}

  at::Tensor tensor;
  std::unique_ptr<ExternalMemory> memory;
};

// Marks the externals that hold a Kept. Every copy of the package in a process finds them under one registered symbol,
// so that anything may come in their place; another addon's external would be read as a Kept.
constexpr napi_type_tag kept_tag{0x6c656e6574356c69, 0x746f7263684b6570};

Kept* kept_of(const Napi::Value& handle) {
  if (handle.IsExternal()) {
    auto external = handle.As<Napi::External<Kept>>();
    if (external.CheckTypeTag(&kept_tag)) return external.Data();
  }
  throw Error("INVALID_ARGUMENT", "Expected a tensor in native memory for a TensorHandle but received another value");
}

class CreateTask : public AsyncTask {
 public:
  CreateTask(Napi::Env env, at::Tensor tensor, std::string device, const Napi::Function& wrap)
      : AsyncTask(env), tensor_(std::move(tensor)), device_(std::move(device)), wrap_(Napi::Persistent(wrap)) {}

 private:
  void Run() override { tensor_ = tensor_.to(resolve_device(device_)); }
  Napi::Value Result(Napi::Env env) override { return wrap_tensor(env, tensor_, wrap_.Value()); }

  at::Tensor tensor_;
  std::string device_;
  Napi::FunctionReference wrap_;
};

class ReadTask : public AsyncTask {
 public:
  ReadTask(Napi::Env env, at::Tensor tensor) : AsyncTask(env), tensor_(std::move(tensor)) {}

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

// createTensor({ kind: "tensor", data, shape, dtype }, device, wrap)
Napi::Value JS_createTensor(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    Value value = from_js(info[0]);
    auto* tensor = std::get_if<TensorValue>(&value.data);
    if (!tensor) throw Error("INVALID_ARGUMENT", "Expected a tensor for tensor but received " + describe(value));
    return AsyncTask::start(new CreateTask(info.Env(), tensor->tensor, info[1].As<Napi::String>().Utf8Value(),
                                           info[2].As<Napi::Function>()));
  });
}

Napi::Value JS_readTensor(const Napi::CallbackInfo& info) {
  return with_js_errors(
      info.Env(), [&]() -> Napi::Value { return AsyncTask::start(new ReadTask(info.Env(), tensor_of(info[0]))); });
}

Napi::Value JS_disposeTensor(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    Kept* kept = kept_of(info[0]);
    kept->tensor.reset();
    kept->memory.reset();
    return info.Env().Undefined();
  });
}

}  // namespace

Napi::Value wrap_tensor(Napi::Env env, const at::Tensor& tensor, const Napi::Function& wrap) {
  auto handle = Napi::External<Kept>::New(env, new Kept(env, tensor), [](Napi::BasicEnv, Kept* kept) { delete kept; });
  handle.TypeTag(&kept_tag);
  return wrap.Call({handle, shape_to_js(env, tensor.sizes()), Napi::String::New(env, dtype_name(tensor.scalar_type())),
                    Napi::String::New(env, tensor.device().str())});
}

at::Tensor tensor_of(const Napi::Value& handle) {
  const at::Tensor& tensor = kept_of(handle)->tensor;
  if (!tensor.defined()) throw Error("DISPOSED", "Expected a tensor that is still there but received a disposed one");
  return tensor;
}

void register_tensor_handle(Napi::Env env, Napi::Object exports) {
  exports.Set("createTensor", Napi::Function::New(env, JS_createTensor, "createTensor"));
  exports.Set("readTensor", Napi::Function::New(env, JS_readTensor, "readTensor"));
  exports.Set("disposeTensor", Napi::Function::New(env, JS_disposeTensor, "disposeTensor"));
}

}  // namespace lenet5::addon
