// Numbers out of option objects that the facade has checked.
#pragma once

#include <napi.h>

#include <cstdint>

namespace lenet5::addon {

inline double number(const Napi::Object& object, const char* name) {
  return object.Get(name).As<Napi::Number>().DoubleValue();
}

inline int64_t integer(const Napi::Object& object, const char* name) {
  return object.Get(name).As<Napi::Number>().Int64Value();
}

}  // namespace lenet5::addon
