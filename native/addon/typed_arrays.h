// Typed arrays across the border. Copies are explicit: what comes in may be changed or detached by JavaScript at any
// time.
#pragma once

#include <napi.h>

#include <cstring>
#include <string>
#include <vector>

namespace lenet5::addon {

template <typename T>
std::vector<T> copy_in(const Napi::Value& value) {
  const auto array = value.As<Napi::TypedArrayOf<T>>();
  return std::vector<T>(array.Data(), array.Data() + array.ElementLength());
}

inline std::string copy_bytes_in(const Napi::Value& value) {
  const auto array = value.As<Napi::Uint8Array>();
  return std::string(reinterpret_cast<const char*>(array.Data()), array.ElementLength());
}

template <typename T>
Napi::TypedArrayOf<T> copy_out(Napi::Env env, const T* data, size_t length) {
  auto array = Napi::TypedArrayOf<T>::New(env, length);
  if (length > 0) std::memcpy(array.Data(), data, length * sizeof(T));
  return array;
}

template <typename T>
Napi::TypedArrayOf<T> copy_out(Napi::Env env, const std::vector<T>& values) {
  return copy_out(env, values.data(), values.size());
}

}  // namespace lenet5::addon
