// Tensors that stay in native memory: what lib/script-module/tensor-handle.ts holds.
#pragma once

#include <ATen/core/Tensor.h>
#include <napi.h>

namespace lenet5::addon {

// Calls wrap(handle, shape, dtype, device) and returns what it returns.
Napi::Value wrap_tensor(Napi::Env env, const at::Tensor& tensor, const Napi::Function& wrap);

// The tensor of a handle. Throws DISPOSED, INVALID_ARGUMENT.
at::Tensor tensor_of(const Napi::Value& handle);

// createTensor({ kind: "tensor", data, shape, dtype }, device, wrap)
Napi::Value create_tensor(const Napi::CallbackInfo& info);
// readTensor(handle)
Napi::Value read_tensor(const Napi::CallbackInfo& info);
// disposeTensor(handle)
void dispose_tensor(const Napi::CallbackInfo& info);

}  // namespace lenet5::addon
