#include "script_inspection_js.h"

#include <vector>

#include "js_value.h"

namespace lenet5::addon {
namespace {

template <typename Item, typename Convert>
Napi::Array items_of(Napi::Env env, const std::vector<Item>& items, Convert&& convert) {
  Napi::Array array = Napi::Array::New(env, items.size());
  for (uint32_t i = 0; i < items.size(); ++i) array.Set(i, convert(items[i]));
  return array;
}

struct Writer {
  Napi::Env env;

  Napi::Object type(const TypeInfo& info) const {
    Napi::Object object = Napi::Object::New(env);
    object.Set("kind", info.kind);
    object.Set("text", info.text);
    if (!info.inner.empty()) {
      object.Set("inner", items_of(env, info.inner, [this](const TypeInfo& inner) { return type(inner); }));
    }
    if (!info.names.empty()) {
      object.Set("names",
                 items_of(env, info.names, [this](const std::string& n) { return Napi::String::New(env, n); }));
    }
    return object;
  }

  Napi::Object argument(const ArgumentInfo& info) const {
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", info.name);
    object.Set("type", type(info.type));
    object.Set("optional", info.default_value.has_value() || info.type.kind == "Optional");
    object.Set("keywordOnly", info.keyword_only);
    if (info.default_value) object.Set("default", *info.default_value);
    return object;
  }

  Napi::Object method(const MethodInfo& info) const {
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", info.name);
    object.Set("signature", info.signature);
    object.Set("arguments", items_of(env, info.arguments, [this](const ArgumentInfo& each) { return argument(each); }));
    object.Set("returns", type(info.returns));
    return object;
  }

  Napi::Object tensor(const TensorInfo& info) const {
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", info.name);
    object.Set("shape", shape_to_js(env, info.shape));
    object.Set("dtype", info.dtype);
    object.Set("device", info.device);
    object.Set("requiresGrad", info.requires_grad);
    return object;
  }

  Napi::Object attribute(const AttributeInfo& info) const {
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", info.name);
    object.Set("type", type(info.type));
    if (info.value) object.Set("value", *info.value);
    return object;
  }
};

}  // namespace

Napi::Array tensors_to_js(Napi::Env env, const std::vector<TensorInfo>& tensors) {
  return items_of(env, tensors, [writer = Writer{env}](const TensorInfo& each) { return writer.tensor(each); });
}

Napi::Object inspection_to_js(Napi::Env env, const Inspection& inspection) {
  const Writer writer{env};
  Napi::Object object = Napi::Object::New(env);
  object.Set("className", inspection.class_name);
  object.Set("device", inspection.device);
  object.Set("methods", items_of(env, inspection.methods, [&](const MethodInfo& each) { return writer.method(each); }));
  object.Set("parameters", tensors_to_js(env, inspection.parameters));
  object.Set("buffers", tensors_to_js(env, inspection.buffers));
  object.Set("attributes",
             items_of(env, inspection.attributes, [&](const AttributeInfo& each) { return writer.attribute(each); }));
  return object;
}

}  // namespace lenet5::addon
