#include "ivalue.h"

#include <ATen/ATen.h>
#include <ATen/core/Dict.h>
#include <ATen/core/List.h>
#include <ATen/core/enum_type.h>

#include <cmath>

#include "../lenet5/error.h"
#include "dtype.h"

namespace lenet5 {
namespace {

using c10::IValue;
using c10::TypeKind;
using c10::TypePtr;

constexpr double kMaxSafeInteger = 9007199254740991.0;
// Where in the arguments a value stands; a chain, so that only an error pays for its words.
struct Where {
  const std::function<std::string()>* root = nullptr;
  const Where* parent = nullptr;
  const Value* key = nullptr;
  size_t index = 0;

  std::string text() const {
    if (root) return (*root)();
    std::string step = key ? describe(*key) : std::to_string(index);
    // "argument x of forward(…)": the step belongs behind the argument's name.
    std::string base = parent->text();
    const size_t of = base.find(" of ");
    base.insert(of == std::string::npos ? base.size() : of, "[" + step + "]");
    return base;
  }
};

bool is_integer(double number) { return std::trunc(number) == number && std::abs(number) <= kMaxSafeInteger; }

[[noreturn]] void mismatch(const Value& value, const c10::Type& type, const Where& where) {
  throw Error("SCRIPT_ARGUMENTS",
              "Expected " + type.annotation_str() + " for " + where.text() + " but received " + describe(value));
}

struct Converter {
  c10::Device device;

  IValue convert(const Value& value, const TypePtr& type, const Where& where) const {
    switch (type->kind()) {
      case TypeKind::TensorType:
        if (const auto* tensor = std::get_if<TensorValue>(&value.data)) return place(*tensor, where);
        break;
      case TypeKind::IntType:
        if (const auto* integer = std::get_if<int64_t>(&value.data)) return IValue(*integer);
        if (const auto* number = std::get_if<Number>(&value.data); number && is_integer(number->value)) {
          return IValue(static_cast<int64_t>(number->value));
        }
        break;
      case TypeKind::FloatType:
        if (const auto* real = std::get_if<double>(&value.data)) return IValue(*real);
        if (const auto* number = std::get_if<Number>(&value.data)) return IValue(number->value);
        break;
      case TypeKind::NumberType:
        if (const auto* number = std::get_if<Number>(&value.data)) return infer_number(number->value);
        if (const auto* integer = std::get_if<int64_t>(&value.data)) return IValue(*integer);
        if (const auto* real = std::get_if<double>(&value.data)) return IValue(*real);
        break;
      case TypeKind::BoolType:
        if (const auto* boolean = std::get_if<bool>(&value.data)) return IValue(*boolean);
        break;
      case TypeKind::StringType:
        if (const auto* text = std::get_if<std::string>(&value.data)) return IValue(*text);
        break;
      case TypeKind::DeviceObjType:
        if (const auto* text = std::get_if<std::string>(&value.data)) return device_named(*text, value, *type, where);
        break;
      case TypeKind::NoneType:
        if (is_none(value)) return IValue();
        break;
      case TypeKind::OptionalType:
        if (is_none(value)) return IValue();
        return convert_inner(value, type, type->expectRef<c10::OptionalType>().getElementType(), where);
      case TypeKind::ListType:
        if (const auto* sequence = std::get_if<Sequence>(&value.data)) {
          return list(*sequence, type->expectRef<c10::ListType>().getElementType(), where);
        }
        break;
      case TypeKind::TupleType:
        if (const auto* sequence = std::get_if<Sequence>(&value.data)) return tuple(value, *sequence, type, where);
        break;
      case TypeKind::DictType:
        if (const auto* dictionary = std::get_if<Dictionary>(&value.data)) {
          const auto& dict = type->expectRef<c10::DictType>();
          return dictionary_of(*dictionary, dict.getKeyType(), dict.getValueType(), where);
        }
        break;
      case TypeKind::UnionType:
        return one_of(value, type, where);
      case TypeKind::AnyType:
        return infer(value, where);
      case TypeKind::EnumType:
        if (const auto* text = std::get_if<std::string>(&value.data)) return enumerator(*text, value, type, where);
        break;
      default:
        throw Error("SCRIPT_UNSUPPORTED", "Expected a type that JavaScript has values for as the type of " +
                                              where.text() + " but received " + type->annotation_str());
    }
    mismatch(value, *type, where);
  }

 private:
  static bool is_none(const Value& value) {
    return std::holds_alternative<None>(value.data) || std::holds_alternative<Missing>(value.data);
  }

  // An error inside an Optional should name the whole type: "Optional[Tensor]", since null would do as well.
  IValue convert_inner(const Value& value, const TypePtr& whole, const TypePtr& inner, const Where& where) const {
    const bool nested = std::holds_alternative<Sequence>(value.data) || std::holds_alternative<Dictionary>(value.data);
    if (nested) return convert(value, inner, where);
    try {
      return convert(value, inner, where);
    } catch (const Error& error) {
      if (error.code() == "SCRIPT_ARGUMENTS") mismatch(value, *whole, where);
      throw;
    }
  }

  IValue place(const TensorValue& value, const Where& where) const {
    const c10::Device here = value.tensor.device();
    if (here == device) return value.tensor;
    if (!value.handle) return value.tensor.to(device);
    throw Error("INVALID_ARGUMENT", "Expected a tensor on " + device.str() + " for " + where.text() +
                                        " but received a handle of one on " + here.str());
  }

  static IValue infer_number(double number) {
    return is_integer(number) ? IValue(static_cast<int64_t>(number)) : IValue(number);
  }

  static IValue device_named(const std::string& name, const Value& value, const c10::Type& type, const Where& where) {
    try {
      return IValue(c10::Device(name));
    } catch (const c10::Error&) {
      mismatch(value, type, where);
    }
  }

  static IValue enumerator(const std::string& name, const Value& value, const TypePtr& type, const Where& where) {
    auto enum_type = type->expect<c10::EnumType>();
    for (const auto& [known, constant] : enum_type->enumNamesValues()) {
      if (known == name) return IValue(c10::make_intrusive<c10::ivalue::EnumHolder>(enum_type, name, constant));
    }
    mismatch(value, *type, where);
  }

  IValue list(const Sequence& sequence, const TypePtr& element, const Where& where) const {
    c10::impl::GenericList result(element);
    result.reserve(sequence.items.size());
    for (size_t i = 0; i < sequence.items.size(); ++i) {
      result.push_back(convert(sequence.items[i], element, Where{nullptr, &where, nullptr, i}));
    }
    return result;
  }

  IValue tuple(const Value& value, const Sequence& sequence, const TypePtr& type, const Where& where) const {
    auto tuple_type = type->expect<c10::TupleType>();
    const auto elements = tuple_type->elements();
    if (elements.size() != sequence.items.size()) mismatch(value, *type, where);
    std::vector<IValue> items;
    items.reserve(elements.size());
    for (size_t i = 0; i < elements.size(); ++i) {
      items.push_back(convert(sequence.items[i], elements[i], Where{nullptr, &where, nullptr, i}));
    }
    if (tuple_type->schema()) return c10::ivalue::Tuple::createNamed(std::move(items), tuple_type);
    return c10::ivalue::Tuple::create(std::move(items));
  }

  IValue dictionary_of(const Dictionary& dictionary, const TypePtr& key_type, const TypePtr& value_type,
                       const Where& where) const {
    c10::impl::GenericDict result(key_type, value_type);
    for (size_t i = 0; i < dictionary.keys.size(); ++i) {
      const Where here{nullptr, &where, &dictionary.keys[i], 0};
      result.insert(convert(dictionary.keys[i], key_type, here), convert(dictionary.values[i], value_type, here));
    }
    return result;
  }

  IValue one_of(const Value& value, const TypePtr& type, const Where& where) const {
    for (const TypePtr& member : type->expectRef<c10::UnionType>().containedTypes()) {
      try {
        return convert(value, member, where);
      } catch (const Error& error) {
        if (error.code() != "SCRIPT_ARGUMENTS") throw;
      }
    }
    mismatch(value, *type, where);
  }

  // For an argument of type Any, as PyTorch infers: equal element types make a typed list or dictionary.
  IValue infer(const Value& value, const Where& where) const {
    if (is_none(value)) return IValue();
    if (const auto* boolean = std::get_if<bool>(&value.data)) return IValue(*boolean);
    if (const auto* number = std::get_if<Number>(&value.data)) return infer_number(number->value);
    if (const auto* integer = std::get_if<int64_t>(&value.data)) return IValue(*integer);
    if (const auto* real = std::get_if<double>(&value.data)) return IValue(*real);
    if (const auto* text = std::get_if<std::string>(&value.data)) return IValue(*text);
    if (const auto* tensor = std::get_if<TensorValue>(&value.data)) return place(*tensor, where);
    if (const auto* sequence = std::get_if<Sequence>(&value.data)) {
      const std::vector<IValue> items = infer_all(sequence->items, where);
      c10::impl::GenericList result(common_type(items));
      result.reserve(items.size());
      for (const IValue& item : items) result.push_back(item);
      return result;
    }
    const auto& dictionary = std::get<Dictionary>(value.data);
    const std::vector<IValue> keys = infer_all(dictionary.keys, where);
    const std::vector<IValue> values = infer_all(dictionary.values, where);
    TypePtr key_type = keys.empty() ? TypePtr(c10::StringType::get()) : common_type(keys);
    if (key_type->kind() == TypeKind::AnyType) mismatch(value, *c10::AnyType::get(), where);
    c10::impl::GenericDict result(key_type, common_type(values));
    for (size_t i = 0; i < keys.size(); ++i) result.insert(keys[i], values[i]);
    return result;
  }

  std::vector<IValue> infer_all(const std::vector<Value>& items, const Where& where) const {
    bool whole = true;
    for (const Value& item : items) {
      const auto* number = std::get_if<Number>(&item.data);
      if (number && !is_integer(number->value)) whole = false;
    }
    std::vector<IValue> result;
    result.reserve(items.size());
    for (size_t i = 0; i < items.size(); ++i) {
      // [1, 2.5] is a list of floats.
      const auto* number = std::get_if<Number>(&items[i].data);
      result.push_back(number && !whole ? IValue(number->value) : infer(items[i], Where{nullptr, &where, nullptr, i}));
    }
    return result;
  }

  static TypePtr common_type(const std::vector<IValue>& items) {
    if (items.empty()) return c10::AnyType::get();
    // Tensors differ in their detailed types, not in their kind.
    if (items[0].isTensor()) {
      for (const IValue& item : items) {
        if (!item.isTensor()) return c10::AnyType::get();
      }
      return c10::TensorType::get();
    }
    TypePtr first = items[0].type();
    for (const IValue& item : items) {
      if (*item.type() != *first) return c10::AnyType::get();
    }
    return first;
  }
};

[[noreturn]] void unsupported_result(const std::string& received) {
  throw Error("SCRIPT_UNSUPPORTED", "Expected a result that JavaScript has values for but received " + received);
}

Value from_ivalue_at(IValue result, bool keep, int depth) {
  if (depth > kMaxDepth) unsupported_result("one nested deeper than " + std::to_string(kMaxDepth) + " levels");
  if (result.isNone()) return {None{}};
  if (result.isTensor()) {
    at::Tensor tensor = std::move(result).toTensor();
    if (!tensor.defined()) return {None{}};
    tensor = tensor.detach();
    return {TensorValue{keep ? std::move(tensor) : readable(tensor), keep}};
  }
  if (result.isInt()) return {result.toInt()};
  if (result.isDouble()) return {result.toDouble()};
  if (result.isBool()) return {result.toBool()};
  if (result.isString()) return {result.toStringRef()};
  if (result.isDevice()) return {result.toDevice().str()};
  if (result.isEnum()) return {result.toEnumHolder()->name()};
  if (result.isList()) {
    Sequence sequence;
    for (const IValue& item : result.toListRef()) sequence.items.push_back(from_ivalue_at(item, keep, depth + 1));
    return {std::move(sequence)};
  }
  if (result.isTuple()) {
    Sequence sequence;
    for (const IValue& item : result.toTupleRef().elements()) {
      sequence.items.push_back(from_ivalue_at(item, keep, depth + 1));
    }
    return {std::move(sequence)};
  }
  if (result.isGenericDict()) {
    const auto dict = result.toGenericDict();
    Dictionary dictionary;
    dictionary.string_keys = dict.keyType()->kind() == TypeKind::StringType;
    for (const auto& entry : dict) {
      dictionary.keys.push_back(from_ivalue_at(entry.key(), keep, depth + 1));
      dictionary.values.push_back(from_ivalue_at(entry.value(), keep, depth + 1));
    }
    return {std::move(dictionary)};
  }
  unsupported_result("one of type " + result.type()->annotation_str());
}

}  // namespace

c10::IValue to_ivalue(const Value& value, const c10::TypePtr& type, const std::function<std::string()>& where,
                      c10::Device device) {
  Where root;
  root.root = &where;
  return Converter{device}.convert(value, type, root);
}

Value from_ivalue(c10::IValue result, bool keep) { return from_ivalue_at(std::move(result), keep, 0); }

void make_unshared(Value& value) {
  if (auto* tensor = std::get_if<TensorValue>(&value.data)) {
    at::Tensor& each = tensor->tensor;
    const bool own =
        each.use_count() == 1 && each.storage().use_count() == 1 && each.storage().nbytes() == each.nbytes();
    if (!own) each = each.clone(at::MemoryFormat::Contiguous);
  } else if (auto* sequence = std::get_if<Sequence>(&value.data)) {
    for (Value& item : sequence->items) make_unshared(item);
  } else if (auto* dictionary = std::get_if<Dictionary>(&value.data)) {
    for (Value& item : dictionary->keys) make_unshared(item);
    for (Value& item : dictionary->values) make_unshared(item);
  }
}

}  // namespace lenet5
