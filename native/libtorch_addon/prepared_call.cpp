#include "prepared_call.h"

#include <string>
#include <utility>

#include "../addon/js_error.h"
#include "js_value.h"

namespace lenet5::addon {

namespace {

std::vector<Value> sequence_of(const Napi::Value& value, const char* where) {
  Value sequence = from_js(array_of(value, where));
  return std::move(std::get<Sequence>(sequence.data).items);
}

int64_t bytes_of_all(const std::vector<Value>& values) {
  int64_t bytes = 0;
  for (const Value& value : values) bytes += bytes_of(value);
  return bytes;
}

}  // namespace

Napi::Value prepare_call(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    Arguments arguments;
    arguments.positional = sequence_of(info[0], "positional");
    std::vector<Value> names = sequence_of(info[1], "names");
    std::vector<Value> values = sequence_of(info[2], "values");
    if (names.size() != values.size()) {
      throw Error("INVALID_ARGUMENT", "Expected as many values as names for keywords but received another number");
    }
    const int64_t bytes = bytes_of_all(arguments.positional) + bytes_of_all(values);
    for (size_t i = 0; i < names.size(); ++i) {
      auto* name = std::get_if<std::string>(&names[i].data);
      if (name == nullptr) throw Error("INVALID_ARGUMENT", "Expected strings for names but received something else");
      arguments.keywords.emplace_back(std::move(*name), std::move(values[i]));
    }
    auto call = std::make_unique<PreparedCall>(info.Env(), std::move(arguments), bytes);
    return to_external(info.Env(), std::make_unique<PreparedPointer>(std::move(call)));
  });
}

void drop_call(const Napi::CallbackInfo& info) {
  with_js_errors(info.Env(), [&] { from_external<PreparedPointer>(info[0], "call").reset(); });
}

}  // namespace lenet5::addon
