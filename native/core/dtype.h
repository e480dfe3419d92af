// Element types by PyTorch's names, and tensors from and for JavaScript's arrays.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lenet5 {

// The element types that JavaScript has an array for.
std::optional<at::ScalarType> dtype_of(const std::string& name);
// PyTorch's name of any element type: "float32", "complex64", …
std::string dtype_name(at::ScalarType dtype);

// A tensor of its own from an array's bytes. Throws INVALID_DTYPE, INVALID_SHAPE.
at::Tensor tensor_from_bytes(const std::string& dtype, const std::vector<int64_t>& shape, const void* bytes,
                             size_t size);

// The memory that a tensor's elements take. Of a sparse tensor those that it holds, and its indices.
int64_t bytes_of_tensor(const at::Tensor& tensor);

// A tensor as JavaScript can have it: on the CPU, contiguous, of a dtype with an array. Throws SCRIPT_UNSUPPORTED.
at::Tensor readable(const at::Tensor& tensor);

}  // namespace lenet5
