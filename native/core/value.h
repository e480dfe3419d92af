// Values on their way between JavaScript and TorchScript, known to neither: a plain tree that owns all it holds.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace lenet5 {

struct Value;

// JavaScript's undefined: an argument that was left out.
struct Missing {};
struct None {};
// A JavaScript number. Whether it is an int or a float is for the method's signature to say.
struct Number {
  double value;
};
struct TensorValue {
  at::Tensor tensor;
  // True for a tensor that JavaScript holds a handle of: it is passed on as it is and never moved to another device.
  bool handle = false;
};
struct Sequence {
  std::vector<Value> items;
};
// keys[i] belongs to values[i].
struct Dictionary {
  std::vector<Value> keys;
  std::vector<Value> values;
  bool string_keys = true;
};

struct Value {
  std::variant<Missing, None, bool, Number, int64_t, double, std::string, TensorValue, Sequence, Dictionary> data;
};

// The arguments of one call, copied from JavaScript.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keywords;
};

// What two calls have in common that take the same time, as far as one can see from outside: the method, the tensors'
// shapes and element types, and all other values.
uint64_t kind_of_call(const std::string& method, const Arguments& arguments);

// The value in a few words, for the tail of an error message.
std::string describe(const Value& value);

// Deepest nesting of a value in either direction; deeper ones are refused before a stack can run out.
constexpr int kMaxDepth = 64;

}  // namespace lenet5
