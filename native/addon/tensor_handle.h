// Tensors that stay in native memory: what lib/script-module/tensor-handle.ts holds.
#pragma once

#include <ATen/core/Tensor.h>
#include <napi.h>

namespace lenet5::addon {

// Calls wrap(handle, shape, dtype, device) and returns what it returns.
Napi::Value wrap_tensor(Napi::Env env, const at::Tensor& tensor, const Napi::Function& wrap);

// The tensor of a handle. Throws DISPOSED.
at::Tensor tensor_of(const Napi::Value& handle);

// createTensor, readTensor, disposeTensor
void register_tensor_handle(Napi::Env env, Napi::Object exports);

}  // namespace lenet5::addon
