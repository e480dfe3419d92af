// Anyone's TorchScript module: load, look into, run.
#pragma once

#include <torch/script.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include "../lenet5/short_calls.h"
#include "archive_reader.h"
#include "value.h"

namespace lenet5 {

// A type of a signature as a tree. `kind` is one of Tensor, int, float, bool, str, None, Any, number, Device, Optional,
// List, Dict, Tuple, NamedTuple, Union, Enum, or other; `text` is how Python writes the whole type.
struct TypeInfo {
  std::string kind;
  std::string text;
  std::vector<TypeInfo> inner;
  // Field names of a NamedTuple, member names of an Enum.
  std::vector<std::string> names;
};

struct ArgumentInfo {
  std::string name;
  TypeInfo type;
  bool keyword_only = false;
  // As Python writes it.
  std::optional<std::string> default_value;
};

struct MethodInfo {
  std::string name;
  std::string signature;
  std::vector<ArgumentInfo> arguments;
  TypeInfo returns;
};

struct TensorInfo {
  std::string name;
  std::vector<int64_t> shape;
  std::string dtype;
  std::string device;
  bool requires_grad = false;
};

struct AttributeInfo {
  std::string name;
  TypeInfo type;
  // As Python writes it; for numbers, strings, booleans and None only.
  std::optional<std::string> value;
};

struct Inspection {
  std::string class_name;
  std::string device;
  std::vector<MethodInfo> methods;
  std::vector<TensorInfo> parameters;
  std::vector<TensorInfo> buffers;
  std::vector<AttributeInfo> attributes;
};

class ScriptModule {
 public:
  // Reads an archive that has been proven a whole zip file; runs the module's __setstate__, if it has one, and sets it
  // to evaluation. `where` names the file. Of an archive without its records comes a module to look into only, whose
  // large tensors hold anything, and whose extra files are left out. Throws MODEL_CORRUPT, SCRIPT_UNSUPPORTED,
  // DEVICE_UNAVAILABLE.
  static std::shared_ptr<ScriptModule> load(Archive archive, const std::string& device, const std::string& where);

  // Runs a method; may be called from several threads at once if the module's code does not change its own state.
  // Throws SCRIPT_METHOD_NOT_FOUND, SCRIPT_ARGUMENTS, INVALID_ARGUMENT, SCRIPT_RAISED, SCRIPT_UNSUPPORTED.
  Value run(const std::string& method, Arguments arguments, bool keep);

  // The same for a call that is awaited, which learns from it: see ShortCalls. `kind`: of its method and arguments.
  // `here`: on the thread that asked for it.
  Value run_and_learn(const std::string& method, Arguments arguments, bool keep, uint64_t kind, bool here);

  // Whether the next call of this kind may be made by the thread that asks for it.
  bool short_call(uint64_t kind) const { return device_.is_cpu() && short_calls_.expected(kind); }

  // Whether a call is worth another thread's time, judging by the one before: the way there and back takes some 20
  // microseconds.
  bool worth_a_thread() const { return last_nanoseconds_ > 50'000; }

  // Waits for running methods, then moves parameters, buffers and tensor attributes.
  Inspection to(const std::string& device);

  // Name → tensor, each with memory of its own unless `keep`. Waits for running methods.
  Value parameters(bool keep) const;
  Value buffers(bool keep) const;

  // What the module has. Not while a method runs: its code may be writing what is read here.
  Inspection inspect() const;

  const std::vector<std::pair<std::string, std::string>>& extra_files() const { return extra_files_; }
  // Bytes of parameters and buffers.
  int64_t bytes() const { return bytes_; }

 private:
  ScriptModule(torch::jit::Module module, c10::Device device) : module_(std::move(module)), device_(device) {}

  torch::jit::Method method_named(const std::string& name) const;

  torch::jit::Module module_;
  c10::Device device_;
  std::vector<std::pair<std::string, std::string>> extra_files_;
  int64_t bytes_ = 0;
  std::atomic<int64_t> last_nanoseconds_{INT64_MAX};
  ShortCalls short_calls_;
  // Shared by runs, exclusive for whatever reads or moves the module's state from outside.
  mutable std::shared_mutex mutex_;
};

// name(x: Tensor, k: int = 3) -> Tensor
std::string signature_text(const std::string& name, const c10::FunctionSchema& schema);

}  // namespace lenet5
