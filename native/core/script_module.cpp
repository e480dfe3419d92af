#include "script_module.h"

#include <caffe2/serialize/inline_container.h>

#include <algorithm>
#include <chrono>
#include <mutex>

#include "../lenet5/error.h"
#include "archive_reader.h"
#include "device.h"
#include "dtype.h"
#include "ivalue.h"
#include "libtorch_threads.h"
#include "script_error.h"

namespace lenet5 {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<std::pair<std::string, std::string>> read_extra_files(const std::shared_ptr<ArchiveReader>& archive) {
  const std::string prefix = "extra/";
  std::vector<std::pair<std::string, std::string>> files;
  caffe2::serialize::PyTorchStreamReader reader(archive);
  for (const std::string& record : reader.getAllRecords()) {
    if (record.compare(0, prefix.size(), prefix) != 0) continue;
    const auto contents = reader.getRecord(record);
    files.emplace_back(record.substr(prefix.size()),
                       std::string(static_cast<const char*>(std::get<0>(contents).get()), std::get<1>(contents)));
  }
  return files;
}

// The arguments in the schema's order, each as its type wants it; defaults where one was left out.
std::vector<c10::IValue> bind_arguments(const std::string& method, const c10::FunctionSchema& schema,
                                        const Arguments& given, c10::Device device) {
  const auto& arguments = schema.arguments();  // arguments[0] is self
  const size_t expected = arguments.size() - 1;
  if (given.positional.size() > expected) {
    throw Error("SCRIPT_ARGUMENTS", "Expected " +
                                        std::string(expected == 0 ? "no arguments"
                                                                  : "at most " + std::to_string(expected) +
                                                                        (expected == 1 ? " argument" : " arguments")) +
                                        " for " + signature_text(method, schema) + " but received " +
                                        std::to_string(given.positional.size()));
  }
  for (const auto& [name, value] : given.keywords) {
    const auto known =
        std::find_if(arguments.begin() + 1, arguments.end(), [&](const auto& each) { return each.name() == name; });
    if (known == arguments.end()) {
      throw Error("SCRIPT_ARGUMENTS", "Expected the names of arguments for the keywords of " +
                                          signature_text(method, schema) + " but received \"" + name + '"');
    }
    if (static_cast<size_t>(known - arguments.begin() - 1) < given.positional.size()) {
      throw Error("SCRIPT_ARGUMENTS", "Expected argument " + name + " of " + signature_text(method, schema) +
                                          " once but received it twice, by place and by name");
    }
  }
  const Value missing{Missing{}};
  std::vector<c10::IValue> stack;
  stack.reserve(expected);
  for (size_t i = 1; i < arguments.size(); ++i) {
    const c10::Argument& argument = arguments[i];
    const Value* value = &missing;
    if (i - 1 < given.positional.size()) value = &given.positional[i - 1];
    for (const auto& [name, keyword] : given.keywords) {
      if (name == argument.name()) value = &keyword;
    }
    if (std::holds_alternative<Missing>(value->data) && argument.default_value()) {
      stack.push_back(*argument.default_value());
    } else {
      const auto where = [&] { return "argument " + argument.name() + " of " + signature_text(method, schema); };
      stack.push_back(to_ivalue(*value, argument.type(), where, device));
    }
  }
  return stack;
}

template <typename NamedTensors>
Value tensors_of(const NamedTensors& named, bool keep) {
  Dictionary dictionary;
  for (const auto& each : named) {
    dictionary.keys.push_back({each.name});
    dictionary.values.push_back(from_ivalue(each.value, keep));
  }
  Value value{std::move(dictionary)};
  if (!keep) make_unshared(value);
  return value;
}

}  // namespace

std::shared_ptr<ScriptModule> ScriptModule::load(Archive archive, const std::string& device_name,
                                                 const std::string& where) {
  const c10::Device device = resolve_device(device_name);
  const bool without_tensors = archive.without_records;
  auto reader = std::make_shared<ArchiveReader>(std::move(archive));
  try {
    use_libtorch_threads();
    torch::NoGradGuard no_grad;
    std::shared_ptr<ScriptModule> loaded(new ScriptModule(torch::jit::load(reader, device), device));
    loaded->module_.eval();
    if (!without_tensors) loaded->extra_files_ = read_extra_files(reader);
    // Compiles every method now: what is wrong with its code is wrong with the file.
    for (const auto& method : loaded->module_.get_methods()) method.function().ensure_defined();
    for (const at::Tensor& tensor : loaded->module_.parameters()) loaded->bytes_ += bytes_of_tensor(tensor);
    for (const at::Tensor& tensor : loaded->module_.buffers()) loaded->bytes_ += bytes_of_tensor(tensor);
    return loaded;
  } catch (...) {
    if (reader->failure()) throw *reader->failure();
    throw current_load_error(where);
  }
}

torch::jit::Method ScriptModule::method_named(const std::string& name) const {
  if (auto method = module_.find_method(name)) return *method;
  std::string known;
  for (const auto& method : module_.get_methods()) known += (known.empty() ? "" : ", ") + method.name();
  throw Error("SCRIPT_METHOD_NOT_FOUND", "Expected one of the module's methods (" +
                                             (known.empty() ? "it has none" : known) + ") for method but received \"" +
                                             name + '"');
}

Value ScriptModule::run(const std::string& name, Arguments arguments, bool keep) {
  const std::shared_lock<std::shared_mutex> lock(mutex_);
  use_libtorch_threads();
  torch::NoGradGuard no_grad;
  torch::jit::Method method = method_named(name);
  c10::IValue result;
  try {
    std::vector<c10::IValue> stack = bind_arguments(name, method.function().getSchema(), arguments, device_);
    arguments = Arguments{};
    const auto begin = Clock::now();
    result = method(std::move(stack));
    last_nanoseconds_ = std::chrono::nanoseconds(Clock::now() - begin).count();
  } catch (...) {
    throw current_script_error();
  }
  Value value = from_ivalue(std::move(result), keep);
  if (!keep) make_unshared(value);
  return value;
}

Value ScriptModule::run_and_learn(const std::string& method, Arguments arguments, bool keep, uint64_t kind, bool here) {
  // Also of a call that fails.
  struct Watch {
    ScriptModule& module;
    uint64_t kind;
    bool here;
    Clock::time_point begin = Clock::now();
    ~Watch() { module.short_calls_.took(kind, std::chrono::nanoseconds(Clock::now() - begin).count(), here); }
  } const watch{*this, kind, here};
  return run(method, std::move(arguments), keep);
}

Inspection ScriptModule::to(const std::string& name) {
  const c10::Device device = resolve_device(name);
  const std::unique_lock<std::shared_mutex> lock(mutex_);
  torch::NoGradGuard no_grad;
  module_.to(device);
  device_ = device;
  return inspect();
}

Value ScriptModule::parameters(bool keep) const {
  const std::unique_lock<std::shared_mutex> lock(mutex_);
  torch::NoGradGuard no_grad;
  return tensors_of(module_.named_parameters(), keep);
}

Value ScriptModule::buffers(bool keep) const {
  const std::unique_lock<std::shared_mutex> lock(mutex_);
  torch::NoGradGuard no_grad;
  return tensors_of(module_.named_buffers(), keep);
}

}  // namespace lenet5
