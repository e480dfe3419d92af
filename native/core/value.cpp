#include "value.h"

#include <cmath>
#include <cstring>
#include <functional>
#include <type_traits>

#include "../lenet5/number_text.h"
#include "dtype.h"

namespace lenet5 {
namespace {

class Hash {
 public:
  void add(uint64_t number) {
    hash_ ^= number + 0x9e3779b97f4a7c15 + (hash_ << 6) + (hash_ >> 2);
    hash_ *= 0xff51afd7ed558ccd;
    hash_ ^= hash_ >> 32;
  }
  void add(double number) {
    uint64_t bits = 0;
    std::memcpy(&bits, &number, sizeof bits);
    add(bits);
  }
  void add(const std::string& text) { add(static_cast<uint64_t>(std::hash<std::string>{}(text))); }
  void add(const std::vector<Value>& values) {
    add(static_cast<uint64_t>(values.size()));
    for (const Value& value : values) add(value);
  }
  void add(const Value& value) {
    add(static_cast<uint64_t>(value.data.index()));
    std::visit(
        [this](const auto& each) {
          using Each = std::decay_t<decltype(each)>;
          if constexpr (std::is_same_v<Each, bool> || std::is_same_v<Each, int64_t>) {
            add(static_cast<uint64_t>(each));
          } else if constexpr (std::is_same_v<Each, Number>) {
            add(each.value);
          } else if constexpr (std::is_same_v<Each, double> || std::is_same_v<Each, std::string>) {
            add(each);
          } else if constexpr (std::is_same_v<Each, TensorValue>) {
            add(static_cast<uint64_t>(each.tensor.scalar_type()));
            add(static_cast<uint64_t>(each.tensor.dim()));
            for (const int64_t size : each.tensor.sizes()) add(static_cast<uint64_t>(size));
          } else if constexpr (std::is_same_v<Each, Sequence>) {
            add(each.items);
          } else if constexpr (std::is_same_v<Each, Dictionary>) {
            add(each.keys);
            add(each.values);
          }
        },
        value.data);
  }

  uint64_t value() const { return hash_; }

 private:
  uint64_t hash_ = 0;
};

}  // namespace

uint64_t kind_of_call(const std::string& method, const Arguments& arguments) {
  Hash hash;
  hash.add(method);
  hash.add(arguments.positional);
  for (const auto& [name, value] : arguments.keywords) {
    hash.add(name);
    hash.add(value);
  }
  return hash.value();
}

std::string describe(const Value& value) {
  struct Describe {
    std::string operator()(Missing) const { return "undefined"; }
    std::string operator()(None) const { return "null"; }
    std::string operator()(bool value) const { return value ? "true" : "false"; }
    std::string operator()(Number number) const {
      if (std::trunc(number.value) == number.value && std::abs(number.value) < 1e15)
        return std::to_string(static_cast<int64_t>(number.value));
      return number_text(number.value);
    }
    std::string operator()(int64_t value) const { return "the int " + std::to_string(value); }
    std::string operator()(double value) const { return "the float " + number_text(value); }
    std::string operator()(const std::string& text) const {
      if (text.size() <= 80) return '"' + text + '"';
      return "a string of " + std::to_string(text.size()) + " bytes";
    }
    std::string operator()(const TensorValue& value) const {
      std::string shape;
      for (const int64_t size : value.tensor.sizes()) shape += (shape.empty() ? "" : ", ") + std::to_string(size);
      return "a " + dtype_name(value.tensor.scalar_type()) + " tensor [" + shape + "]";
    }
    std::string operator()(const Sequence& sequence) const {
      return "an array of " + std::to_string(sequence.items.size());
    }
    std::string operator()(const Dictionary& dictionary) const {
      return "a dictionary of " + std::to_string(dictionary.keys.size());
    }
  };
  return std::visit(Describe{}, value.data);
}

}  // namespace lenet5
