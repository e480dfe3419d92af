// ScriptModule::inspect: what a module has, in words and shapes.
#include <ATen/core/enum_type.h>

#include <locale>
#include <sstream>

#include "../lenet5/number_text.h"
#include "dtype.h"
#include "script_module.h"

namespace lenet5 {
namespace {

using c10::TypeKind;
using c10::TypePtr;

std::string kind_of(const c10::Type& type) {
  switch (type.kind()) {
    case TypeKind::TensorType:
      return "Tensor";
    case TypeKind::IntType:
      return "int";
    case TypeKind::FloatType:
      return "float";
    case TypeKind::BoolType:
      return "bool";
    case TypeKind::StringType:
      return "str";
    case TypeKind::NoneType:
      return "None";
    case TypeKind::AnyType:
      return "Any";
    case TypeKind::NumberType:
      return "number";
    case TypeKind::DeviceObjType:
      return "Device";
    case TypeKind::OptionalType:
      return "Optional";
    case TypeKind::ListType:
      return "List";
    case TypeKind::DictType:
      return "Dict";
    case TypeKind::UnionType:
      return "Union";
    case TypeKind::EnumType:
      return "Enum";
    case TypeKind::TupleType:
      return type.expectRef<c10::TupleType>().schema() ? "NamedTuple" : "Tuple";
    default:
      return "other";
  }
}

TypeInfo type_info(const TypePtr& type) {
  TypeInfo info;
  info.kind = kind_of(*type);
  info.text = type->annotation_str();
  if (info.kind == "Optional") {
    // Its contained types would be the inner one and None.
    info.inner.push_back(type_info(type->expectRef<c10::OptionalType>().getElementType()));
  } else if (info.kind == "Enum") {
    for (const auto& member : type->expectRef<c10::EnumType>().enumNamesValues()) info.names.push_back(member.first);
  } else if (info.kind != "other") {
    for (const TypePtr& inner : type->containedTypes()) info.inner.push_back(type_info(inner));
    if (info.kind == "NamedTuple") {
      for (const auto& field : type->expectRef<c10::TupleType>().schema()->arguments()) {
        info.names.push_back(field.name());
      }
    }
  }
  return info;
}

bool is_simple(const c10::IValue& value) {
  return value.isNone() || value.isBool() || value.isInt() || value.isDouble() || value.isString();
}

std::string quoted(const std::string& text) {
  constexpr char kHexDigits[] = "0123456789abcdef";
  std::string result = "\"";
  for (const char letter : text) {
    if (letter == '"' || letter == '\\') {
      result += {'\\', letter};
    } else if (static_cast<unsigned char>(letter) < 0x20 || letter == 0x7f) {
      const auto code = static_cast<unsigned char>(letter);
      result += {'\\', 'x', kHexDigits[code >> 4], kHexDigits[code & 15]};
    } else {
      result += letter;
    }
  }
  return result + '"';
}

// A value as Python writes it: JSON has no room for all ints and floats, and tells the two apart no better.
std::string literal(const c10::IValue& value) {
  if (value.isNone()) return "None";
  if (value.isBool()) return value.toBool() ? "True" : "False";
  if (value.isString()) return quoted(value.toStringRef());
  if (value.isDouble()) return float_literal(value.toDouble());
  if (value.isTensor() || value.isGenericDict()) return "…";
  std::ostringstream text;
  text.imbue(std::locale::classic());
  text << value;
  return text.str();
}

MethodInfo method_info(const torch::jit::Method& method) {
  const c10::FunctionSchema& schema = method.function().getSchema();
  MethodInfo info;
  info.name = method.name();
  info.signature = signature_text(info.name, schema);
  for (size_t i = 1; i < schema.arguments().size(); ++i) {
    const c10::Argument& argument = schema.arguments()[i];
    ArgumentInfo described;
    described.name = argument.name();
    described.type = type_info(argument.type());
    described.keyword_only = argument.kwarg_only();
    if (argument.default_value()) described.default_value = literal(*argument.default_value());
    info.arguments.push_back(std::move(described));
  }
  info.returns = type_info(schema.returns().at(0).type());
  return info;
}

TensorInfo tensor_info(const std::string& name, const at::Tensor& tensor) {
  return {name, tensor.sizes().vec(), dtype_name(tensor.scalar_type()), tensor.device().str(), tensor.requires_grad()};
}

// What every module has and nobody asks for.
bool is_bookkeeping(const std::string& name) { return name == "training" || name == "_is_full_backward_hook"; }

void add_attributes(const std::string& prefix, const torch::jit::Module& module,
                    std::vector<AttributeInfo>& attributes) {
  const auto type = module.type();
  for (size_t i = 0; i < type->numAttributes(); ++i) {
    const TypePtr& attribute = type->getAttribute(i);
    const std::string& name = type->getAttributeName(i);
    const bool is_tensor = type->is_parameter(i) || attribute->isSubtypeOf(*c10::TensorType::get());
    if (is_tensor || attribute->is_module() || is_bookkeeping(name)) continue;
    AttributeInfo info{prefix + name, type_info(attribute), std::nullopt};
    const c10::IValue value = module._ivalue()->getSlot(i);
    if (is_simple(value)) info.value = literal(value);
    attributes.push_back(std::move(info));
  }
  for (size_t i = 0; i < type->numConstants(); ++i) {
    const c10::IValue value = type->getConstant(i);
    if (!is_simple(value)) continue;
    attributes.push_back({prefix + type->getConstantName(i), type_info(value.type()), literal(value)});
  }
}

}  // namespace

std::string signature_text(const std::string& name, const c10::FunctionSchema& schema) {
  std::string text = name + "(";
  bool keyword_only = false;
  for (size_t i = 1; i < schema.arguments().size(); ++i) {
    const c10::Argument& argument = schema.arguments()[i];
    if (i > 1) text += ", ";
    if (argument.kwarg_only() && !keyword_only) text += "*, ";
    keyword_only = keyword_only || argument.kwarg_only();
    text += argument.name() + ": " + argument.type()->annotation_str();
    if (argument.default_value()) text += " = " + literal(*argument.default_value());
  }
  return text + ") -> " + schema.returns().at(0).type()->annotation_str();
}

Inspection ScriptModule::inspect() const {
  torch::NoGradGuard no_grad;
  Inspection inspection;
  inspection.class_name = module_.type()->name()->qualifiedName();
  inspection.device = device_.str();
  for (const auto& method : module_.get_methods()) inspection.methods.push_back(method_info(method));
  for (const auto& each : module_.named_parameters()) {
    inspection.parameters.push_back(tensor_info(each.name, each.value));
  }
  for (const auto& each : module_.named_buffers()) inspection.buffers.push_back(tensor_info(each.name, each.value));
  for (const auto& each : module_.named_modules()) {
    add_attributes(each.name.empty() ? "" : each.name + ".", each.value, inspection.attributes);
  }
  return inspection;
}

}  // namespace lenet5
