#include "dtype.h"

#include <ATen/ATen.h>
#include <torch/version.h>

#include <algorithm>
#include <cctype>
#include <cstring>

#include "../lenet5/error.h"

// libtorch 2.3 brought uint16, uint32 and uint64.
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 3)
#define LENET5_HAS_UNSIGNED
#endif

namespace lenet5 {
namespace {

constexpr double kMaxElements = 9007199254740992.0;
constexpr int64_t kMaxDimensions = 64;

struct DTypeName {
  const char* name;
  at::ScalarType type;
};
constexpr DTypeName kDTypes[] = {
    {"float16", at::kHalf},
    {"bfloat16", at::kBFloat16},
    {"float32", at::kFloat},
    {"float64", at::kDouble},
    {"uint8", at::kByte},
    {"int8", at::kChar},
    {"int16", at::kShort},
    {"int32", at::kInt},
    {"int64", at::kLong},
    {"bool", at::kBool},
    {"complex64", at::kComplexFloat},
    {"complex128", at::kComplexDouble},
#ifdef LENET5_HAS_UNSIGNED
    {"uint16", at::ScalarType::UInt16},
    {"uint32", at::ScalarType::UInt32},
#endif
};
constexpr DTypeName kOtherDTypes[] = {{"complex32", at::kComplexHalf}};

[[noreturn]] void unsupported(const std::string& received) {
  throw Error("SCRIPT_UNSUPPORTED", "Expected a tensor that JavaScript can read but received " + received);
}

}  // namespace

std::optional<at::ScalarType> dtype_of(const std::string& name) {
  for (const DTypeName& each : kDTypes) {
    if (name == each.name) return each.type;
  }
  return std::nullopt;
}

std::string dtype_name(at::ScalarType dtype) {
  for (const DTypeName& each : kDTypes) {
    if (dtype == each.type) return each.name;
  }
  for (const DTypeName& each : kOtherDTypes) {
    if (dtype == each.type) return each.name;
  }
  std::string name = c10::toString(dtype);
  for (char& letter : name) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  return name;
}

at::Tensor tensor_from_bytes(const std::string& dtype, const std::vector<int64_t>& shape, const void* bytes,
                             size_t size) {
  const std::optional<at::ScalarType> type = dtype_of(dtype);
  if (!type && (dtype == "uint16" || dtype == "uint32")) {
    throw Error("INVALID_DTYPE",
                "Expected libtorch 2.3 or later for tensors of " + dtype + " but received libtorch " TORCH_VERSION);
  }
  if (!type)
    throw Error("INVALID_DTYPE", "Expected an element type with an array for dtype but received \"" + dtype + '"');
  // Sizes are bounded as if none were zero: strides are products too.
  double extent = 1;
  bool valid = shape.size() <= static_cast<size_t>(kMaxDimensions);
  int64_t count = 1;
  for (const int64_t length : shape) {
    valid = valid && length >= 0;
    extent *= static_cast<double>(std::max<int64_t>(length, 1));
    valid = valid && extent <= kMaxElements;
    if (!valid) break;
    count *= length;
  }
  if (!valid) {
    throw Error("INVALID_SHAPE", "Expected at most 64 dimensions and 2^53 elements for shape but received more");
  }
  if (size != static_cast<size_t>(count) * c10::elementSize(*type)) {
    throw Error("INVALID_SHAPE", "Expected " + std::to_string(count) + " elements of " + dtype +
                                     " for data but received " + std::to_string(size) + " bytes");
  }
  at::Tensor tensor = at::empty(shape, at::TensorOptions(*type));
  if (*type == at::kBool) {
    // A bool that is neither 0 nor 1 is undefined behaviour in C++.
    const auto* source = static_cast<const unsigned char*>(bytes);
    std::transform(source, source + size, tensor.data_ptr<bool>(), [](unsigned char byte) { return byte != 0; });
  } else if (size > 0) {
    std::memcpy(tensor.data_ptr(), bytes, size);
  }
  return tensor;
}

int64_t bytes_of_tensor(const at::Tensor& tensor) {
  switch (tensor.layout()) {
    case c10::kStrided:
    case c10::kMkldnn:
      return tensor.numel() * static_cast<int64_t>(tensor.element_size());
    case c10::kSparse:
      return bytes_of_tensor(tensor._indices()) + bytes_of_tensor(tensor._values());
    case c10::kSparseCsr:
    case c10::kSparseBsr:
      return bytes_of_tensor(tensor.crow_indices()) + bytes_of_tensor(tensor.col_indices()) +
             bytes_of_tensor(tensor.values());
    case c10::kSparseCsc:
    case c10::kSparseBsc:
      return bytes_of_tensor(tensor.ccol_indices()) + bytes_of_tensor(tensor.row_indices()) +
             bytes_of_tensor(tensor.values());
    default:
      // A layout of a later libtorch (nested tensors, say): what it weighs is unknown, not an error.
      return 0;
  }
}

at::Tensor readable(const at::Tensor& tensor) {
  if (tensor.layout() != c10::kStrided || tensor.is_quantized()) {
    unsupported("a sparse, nested or quantized tensor; its values are there after .to_dense() or .dequantize()");
  }
  if (tensor.is_meta()) unsupported("a tensor on the device meta, which holds no values");
  if (!dtype_of(dtype_name(tensor.scalar_type()))) {
    unsupported("a tensor of " + dtype_name(tensor.scalar_type()) + ", which JavaScript has no array for");
  }
  return tensor.cpu().contiguous().resolve_conj().resolve_neg();
}

}  // namespace lenet5
