#include "value.h"

#include <cmath>

#include "../lenet5/number_text.h"
#include "dtype.h"

namespace lenet5 {

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
