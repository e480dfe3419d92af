// Typed arrays on their way out, with memory of their own. Those that come in are read by checked.h.
#pragma once

#include <napi.h>

#include <cstring>
#include <vector>

namespace lenet5::addon {

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
