#include "js_value.h"

#include <ATen/ATen.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "../addon/checked.h"
#include "../core/dtype.h"
#include "../lenet5/error.h"
#include "tensor_handle.h"

namespace lenet5::addon {
namespace {

// Below this, copying is cheaper than a finalizer.
constexpr size_t kSmallestExternalBytes = 4096;

[[noreturn]] void unexpected(const std::string& what) {
  throw Error("INVALID_ARGUMENT", "Expected " + what + " for an argument but received something else");
}

at::Tensor tensor_from_js(const Napi::Object& object) {
  const Napi::Value data = object.Get("data"), sizes = object.Get("shape");
  const std::string dtype = text_of(object.Get("dtype"), "dtype");
  const Napi::Array sizes_array = array_of(sizes, "shape");
  std::vector<int64_t> shape;
  for (uint32_t i = 0; i < sizes_array.Length(); ++i) {
    shape.push_back(integer_of(sizes_array.Get(i), "shape", 0, kMaxSafeInteger));
  }
  // Last, when no getter of an argument can take the memory away any more.
  const BytesView view = bytes_view_of(data, "data");
  return tensor_from_bytes(dtype, shape, view.data, view.bytes);
}

std::vector<Value> items_from_js(const Napi::Value& value, int depth);

Value from_js_at(const Napi::Value& value, int depth) {
  if (depth > kMaxDepth) unexpected("at most " + std::to_string(kMaxDepth) + " levels of nesting");
  switch (value.Type()) {
    case napi_undefined:
      return {Missing{}};
    case napi_null:
      return {None{}};
    case napi_boolean:
      return {value.As<Napi::Boolean>().Value()};
    case napi_number:
      return {Number{value.As<Napi::Number>().DoubleValue()}};
    case napi_string:
      return {value.As<Napi::String>().Utf8Value()};
    case napi_bigint: {
      bool lossless = false;
      const int64_t integer = value.As<Napi::BigInt>().Int64Value(&lossless);
      if (!lossless) unexpected("a bigint of 64 bits");
      return {integer};
    }
    case napi_object:
      break;
    default:
      unexpected("a value");
  }
  if (value.IsArray()) return {Sequence{items_from_js(value, depth)}};
  const auto object = value.As<Napi::Object>();
  const std::string kind = text_of(object.Get("kind"), "kind");
  if (kind == "tensor") return {TensorValue{tensor_from_js(object), false}};
  if (kind == "handle") return {TensorValue{tensor_of(object.Get("handle")), true}};
  if (kind == "float") return {number_of(object.Get("value"), "value")};
  if (kind != "dict") unexpected("a value");
  Dictionary dictionary;
  dictionary.keys = items_from_js(object.Get("keys"), depth);
  dictionary.values = items_from_js(object.Get("values"), depth);
  if (dictionary.keys.size() != dictionary.values.size()) unexpected("a dictionary");
  return {std::move(dictionary)};
}

std::vector<Value> items_from_js(const Napi::Value& value, int depth) {
  if (!value.IsArray()) unexpected("an array");
  const auto array = value.As<Napi::Array>();
  std::vector<Value> items;
  const uint32_t length = array.Length();
  items.reserve(length);
  for (uint32_t i = 0; i < length; ++i) {
    // Each element's handle goes at once; a list of a million would otherwise hold a million.
    const Napi::HandleScope scope(value.Env());
    items.push_back(from_js_at(array.Get(i), depth + 1));
  }
  return items;
}

napi_typedarray_type array_type(at::ScalarType dtype) {
  // By name: libtorch before 2.3 has no such types.
  const std::string name = dtype_name(dtype);
  if (name == "uint16") return napi_uint16_array;
  if (name == "uint32") return napi_uint32_array;
  switch (dtype) {
    case at::kHalf:
    case at::kBFloat16:
      return napi_uint16_array;
    case at::kFloat:
    case at::kComplexFloat:
      return napi_float32_array;
    case at::kDouble:
    case at::kComplexDouble:
      return napi_float64_array;
    case at::kChar:
      return napi_int8_array;
    case at::kShort:
      return napi_int16_array;
    case at::kInt:
      return napi_int32_array;
    case at::kLong:
      return napi_bigint64_array;
    default:
      return napi_uint8_array;
  }
}

napi_value array_buffer(Napi::Env env, const at::Tensor& tensor) {
  const size_t size = tensor.nbytes();
  napi_value buffer = nullptr;
  if (size >= kSmallestExternalBytes) {
    auto* owner = new at::Tensor(tensor);
    const auto release = [](napi_env, void*, void* hint) { delete static_cast<at::Tensor*>(hint); };
    if (napi_create_external_arraybuffer(env, tensor.data_ptr(), size, release, owner, &buffer) == napi_ok)
      return buffer;
    // A runtime that keeps all of JavaScript's memory in a cage (Electron's) takes no foreign memory.
    delete owner;
  }
  void* target = nullptr;
  if (napi_create_arraybuffer(env, size, &target, &buffer) != napi_ok) throw Napi::Error::New(env);
  if (size > 0) std::memcpy(target, tensor.data_ptr(), size);
  return buffer;
}

napi_value typed_array(Napi::Env env, const at::Tensor& tensor) {
  const napi_value buffer = array_buffer(env, tensor);
  if (tensor.scalar_type() == at::kHalf) {
    // Node-API has no name for it.
    const Napi::Value half = env.Global().Get("Float16Array");
    if (half.IsFunction()) return half.As<Napi::Function>().New({buffer});
  }
  napi_value data = nullptr;
  // Real and imaginary parts lie side by side.
  const size_t length = static_cast<size_t>(tensor.numel()) * (tensor.is_complex() ? 2 : 1);
  if (napi_create_typedarray(env, array_type(tensor.scalar_type()), length, buffer, 0, &data) != napi_ok) {
    throw Napi::Error::New(env);
  }
  return data;
}

}  // namespace

Value from_js(const Napi::Value& value) { return from_js_at(value, 0); }

int64_t bytes_of(const Value& value) {
  if (const auto* tensor = std::get_if<TensorValue>(&value.data)) {
    return tensor->handle ? 0 : bytes_of_tensor(tensor->tensor);
  }
  int64_t bytes = 0;
  if (const auto* sequence = std::get_if<Sequence>(&value.data)) {
    for (const Value& item : sequence->items) bytes += bytes_of(item);
  } else if (const auto* dictionary = std::get_if<Dictionary>(&value.data)) {
    for (const Value& item : dictionary->values) bytes += bytes_of(item);
  }
  return bytes;
}

Napi::Array shape_to_js(Napi::Env env, at::IntArrayRef shape) {
  Napi::Array array = Napi::Array::New(env, shape.size());
  for (uint32_t i = 0; i < shape.size(); ++i) array.Set(i, Napi::Number::New(env, static_cast<double>(shape[i])));
  return array;
}

Napi::Object tensor_to_js(Napi::Env env, const at::Tensor& tensor) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("data", typed_array(env, tensor));
  object.Set("shape", shape_to_js(env, tensor.sizes()));
  object.Set("dtype", dtype_name(tensor.scalar_type()));
  return object;
}

Napi::Value to_js(Napi::Env env, const Value& value, const ToJs& options) {
  struct Convert {
    Napi::Env env;
    const ToJs& options;

    Napi::Value operator()(Missing) const { return env.Undefined(); }
    Napi::Value operator()(None) const { return env.Null(); }
    Napi::Value operator()(bool boolean) const { return Napi::Boolean::New(env, boolean); }
    Napi::Value operator()(Number number) const { return Napi::Number::New(env, number.value); }
    Napi::Value operator()(double number) const { return Napi::Number::New(env, number); }
    Napi::Value operator()(const std::string& text) const { return Napi::String::New(env, text); }
    Napi::Value operator()(int64_t integer) const {
      const bool safe = integer >= -kMaxSafeInteger && integer <= kMaxSafeInteger;
      if (options.big_integers || !safe) return Napi::BigInt::New(env, integer);
      return Napi::Number::New(env, static_cast<double>(integer));
    }
    Napi::Value operator()(const TensorValue& value) const {
      return value.handle ? wrap_tensor(env, value.tensor, options.wrap) : tensor_to_js(env, value.tensor);
    }
    Napi::Value operator()(const Sequence& sequence) const { return array(sequence.items); }
    Napi::Value operator()(const Dictionary& dictionary) const {
      if (!dictionary.string_keys) return map(dictionary);
      Napi::Object object = Napi::Object::New(env);
      for (size_t i = 0; i < dictionary.keys.size(); ++i) {
        const Napi::HandleScope scope(env);
        // Defined, not set: a key "__proto__" is a key like any other.
        object.DefineProperty(Napi::PropertyDescriptor::Value(
            Napi::String::New(env, std::get<std::string>(dictionary.keys[i].data)),
            to_js(env, dictionary.values[i], options), static_cast<napi_property_attributes>(napi_default_jsproperty)));
      }
      return object;
    }

    Napi::Array array(const std::vector<Value>& items) const {
      Napi::Array result = Napi::Array::New(env, items.size());
      for (size_t i = 0; i < items.size(); ++i) {
        const Napi::HandleScope scope(env);
        result.Set(static_cast<uint32_t>(i), to_js(env, items[i], options));
      }
      return result;
    }

    Napi::Value map(const Dictionary& dictionary) const {
      Napi::Object result = env.Global().Get("Map").As<Napi::Function>().New({});
      const auto set = result.Get("set").As<Napi::Function>();
      for (size_t i = 0; i < dictionary.keys.size(); ++i) {
        const Napi::HandleScope scope(env);
        set.Call(result, {to_js(env, dictionary.keys[i], options), to_js(env, dictionary.values[i], options)});
      }
      return result;
    }
  };
  return std::visit(Convert{env, options}, value.data);
}

}  // namespace lenet5::addon
