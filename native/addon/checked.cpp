#include "checked.h"

#include <cmath>

#include "../lenet5/error.h"

namespace lenet5::addon {

namespace {

struct Kind {
  napi_typedarray_type type;
  const char* name;
  size_t bytes;
};
constexpr Kind kKinds[] = {
    {napi_int8_array, "an Int8Array", 1},
    {napi_uint8_array, "a Uint8Array", 1},
    {napi_uint8_clamped_array, "a Uint8ClampedArray", 1},
    {napi_int16_array, "an Int16Array", 2},
    {napi_uint16_array, "a Uint16Array", 2},
    {napi_int32_array, "an Int32Array", 4},
    {napi_uint32_array, "a Uint32Array", 4},
    {napi_float32_array, "a Float32Array", 4},
    {napi_float64_array, "a Float64Array", 8},
    {napi_bigint64_array, "a BigInt64Array", 8},
    {napi_biguint64_array, "a BigUint64Array", 8},
};

const Kind* kind_of(napi_typedarray_type type) {
  for (const Kind& kind : kKinds) {
    if (kind.type == type) return &kind;
  }
  return nullptr;
}

[[noreturn]] void refuse(const char* code, const std::string& expected, const char* where, const Napi::Value& value) {
  throw Error(code, "Expected " + expected + " for " + where + " but received " + describe(value));
}

struct TypedArray {
  napi_typedarray_type type;
  size_t length;
  void* data;
};

// Asks Node once for all: an array whose buffer was detached, or shrank away from under it, has no elements.
TypedArray typed_array(const Napi::Value& value, const std::string& expected, const char* where) {
  if (!value.IsTypedArray()) refuse("INVALID_DTYPE", expected, where, value);
  TypedArray array{};
  napi_value buffer = nullptr;
  size_t offset = 0;
  bool detached = false;
  const napi_env env = value.Env();
  if (napi_get_typedarray_info(env, value, &array.type, &array.length, &array.data, &buffer, &offset) != napi_ok ||
      napi_is_detached_arraybuffer(env, buffer, &detached) != napi_ok) {
    refuse("INVALID_DTYPE", expected, where, value);
  }
  if (detached) {
    throw Error("INVALID_ARGUMENT", std::string("Expected an array with its memory for ") + where +
                                        " but received one whose buffer was transferred");
  }
  return array;
}

template <typename T>
napi_typedarray_type type_for();
template <>
napi_typedarray_type type_for<float>() {
  return napi_float32_array;
}
template <>
napi_typedarray_type type_for<uint8_t>() {
  return napi_uint8_array;
}
template <>
napi_typedarray_type type_for<int32_t>() {
  return napi_int32_array;
}

}  // namespace

std::string describe(const Napi::Value& value) {
  if (value.IsEmpty()) return "nothing";
  switch (value.Type()) {
    case napi_undefined:
      return "undefined";
    case napi_null:
      return "null";
    case napi_boolean:
      return "a boolean";
    case napi_number:
      return "a number";
    case napi_string:
      return "a string";
    case napi_symbol:
      return "a symbol";
    case napi_function:
      return "a function";
    case napi_bigint:
      return "a bigint";
    default:
      break;
  }
  if (value.IsTypedArray()) {
    const Kind* kind = kind_of(value.As<Napi::TypedArray>().TypedArrayType());
    return kind != nullptr ? kind->name : "a typed array of another kind";
  }
  return value.IsArray() ? "an array" : "an object";
}

double number_of(const Napi::Value& value, const char* where) {
  if (!value.IsNumber()) refuse("INVALID_ARGUMENT", "a number", where, value);
  return value.As<Napi::Number>().DoubleValue();
}

int64_t integer_of(const Napi::Value& value, const char* where, int64_t least, int64_t largest) {
  const double number = number_of(value, where);
  if (std::trunc(number) == number && number >= static_cast<double>(least) && number <= static_cast<double>(largest)) {
    return static_cast<int64_t>(number);
  }
  throw Error("INVALID_ARGUMENT", "Expected a whole number from " + std::to_string(least) + " to " +
                                      std::to_string(largest) + " for " + where + " but received another number");
}

bool boolean_of(const Napi::Value& value, const char* where) {
  if (!value.IsBoolean()) refuse("INVALID_ARGUMENT", "a boolean", where, value);
  return value.As<Napi::Boolean>().Value();
}

std::string text_of(const Napi::Value& value, const char* where) {
  if (!value.IsString()) refuse("INVALID_ARGUMENT", "a string", where, value);
  return value.As<Napi::String>().Utf8Value();
}

Napi::Object object_of(const Napi::Value& value, const char* where) {
  if (!value.IsObject()) refuse("INVALID_ARGUMENT", "an object", where, value);
  return value.As<Napi::Object>();
}

Napi::Array array_of(const Napi::Value& value, const char* where) {
  if (!value.IsArray()) refuse("INVALID_ARGUMENT", "an array", where, value);
  return value.As<Napi::Array>();
}

Napi::Function function_of(const Napi::Value& value, const char* where) {
  if (!value.IsFunction()) refuse("INVALID_ARGUMENT", "a function", where, value);
  return value.As<Napi::Function>();
}

BytesView bytes_view_of(const Napi::Value& value, const char* where) {
  const TypedArray array = typed_array(value, "a typed array", where);
  const Kind* kind = kind_of(array.type);
  if (kind == nullptr) refuse("INVALID_DTYPE", "a typed array of a kind that is known here", where, value);
  return {array.type, static_cast<const uint8_t*>(array.data), array.length * kind->bytes};
}

template <typename T>
View<T> view_of(const Napi::Value& value, const char* where) {
  const std::string expected = kind_of(type_for<T>())->name;
  const TypedArray array = typed_array(value, expected, where);
  if (array.type != type_for<T>()) refuse("INVALID_DTYPE", expected, where, value);
  return {static_cast<T*>(array.data), array.length};
}

template View<float> view_of<float>(const Napi::Value& value, const char* where);
template View<uint8_t> view_of<uint8_t>(const Napi::Value& value, const char* where);
template View<int32_t> view_of<int32_t>(const Napi::Value& value, const char* where);

}  // namespace lenet5::addon
