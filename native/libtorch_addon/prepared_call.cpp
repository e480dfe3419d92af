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

int64_t bytes_of_all(const Arguments& arguments) {
  int64_t bytes = 0;
  for (const Value& value : arguments.positional) bytes += bytes_of(value);
  for (const auto& [name, value] : arguments.keywords) bytes += bytes_of(value);
  return bytes;
}

}  // namespace

PreparedCall::PreparedCall(napi_env env, Arguments copied)
    : arguments(std::move(copied)), memory(env, bytes_of_all(arguments)) {}

Arguments arguments_of(const Napi::Value& positional, const Napi::Value& names, const Napi::Value& values) {
  Arguments arguments;
  arguments.positional = sequence_of(positional, "positional");
  std::vector<Value> named = sequence_of(names, "names");
  std::vector<Value> given = sequence_of(values, "values");
  if (named.size() != given.size()) {
    throw Error("INVALID_ARGUMENT", "Expected as many values as names for keywords but received another number");
  }
  for (size_t i = 0; i < named.size(); ++i) {
    auto* name = std::get_if<std::string>(&named[i].data);
    if (name == nullptr) throw Error("INVALID_ARGUMENT", "Expected strings for names but received something else");
    arguments.keywords.emplace_back(std::move(*name), std::move(given[i]));
  }
  return arguments;
}

Napi::Value keep_call(Napi::Env env, Arguments arguments) {
  return to_external(env, std::make_unique<PreparedPointer>(std::make_unique<PreparedCall>(env, std::move(arguments))));
}

PreparedPointer& kept_call(const Napi::Value& kept) {
  PreparedPointer& call = from_external<PreparedPointer>(kept, "call");
  if (!call) throw Error("INVALID_ARGUMENT", "Expected a call that has not run for call but received a used one");
  return call;
}

PreparedPointer take_call(const Napi::Value& kept) { return std::move(kept_call(kept)); }

Napi::Value prepare_call(const Napi::CallbackInfo& info) {
  return with_js_errors(
      info.Env(), [&]() -> Napi::Value { return keep_call(info.Env(), arguments_of(info[0], info[1], info[2])); });
}

void drop_call(const Napi::CallbackInfo& info) {
  with_js_errors(info.Env(), [&] { from_external<PreparedPointer>(info[0], "call").reset(); });
}

}  // namespace lenet5::addon
