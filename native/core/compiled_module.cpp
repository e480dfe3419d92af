// The problem: what PyTorch compiled reads its inputs' memory as if they were what it was compiled for, whatever they
// are. The resolution: the library has checks of its own for number, type, shape and strides, which an environment
// variable turns on, read at its first call; it is set before a package is opened and before each call until one has
// been answered, and whoever unpacks a package refuses one without those checks (lib/compiled-module/package.ts).
#include "compiled_module.h"

#if LENET5_COMPILED_PACKAGES

#include <c10/util/intrusive_ptr.h>
#include <c10/util/strides.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <regex>
#include <sstream>

#include "../lenet5/error.h"
#include "device.h"
#include "dtype.h"
#include "ivalue.h"
#include "libtorch_threads.h"
#include "script_error.h"

namespace lenet5 {
namespace {

using Clock = std::chrono::steady_clock;

bool has_instructions([[maybe_unused]] const std::string& name) {
#if defined(__x86_64__) && defined(__GNUC__)
  if (name == "AVX2") return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (name == "AVX512") {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  }
  if (name == "AVX512_VNNI") return __builtin_cpu_supports("avx512vnni");
#endif
  return true;
}

void check_instructions(const CompiledRequest& request) {
  std::istringstream names(request.instructions);
  for (std::string name; names >> name;) {
    if (!has_instructions(name)) {
      throw Error("SCRIPT_UNSUPPORTED", "Expected a package for this processor for " + request.where +
                                            " but received one that uses " + name +
                                            ", which the processor does not have");
    }
  }
}

c10::Device device_for(const CompiledRequest& request) {
  const c10::Device device = resolve_device(request.device == "auto" ? request.made_for : request.device);
  if (c10::DeviceTypeName(device.type(), true) != request.made_for) {
    throw Error("DEVICE_UNAVAILABLE", "Expected the device that the package was made for (" + request.made_for +
                                          ") for " + request.where + " but received \"" + request.device + '"');
  }
  return device;
}

// What stands in an error's message of the package or of libtorch, without where in their sources it arose.
std::string first_line(const std::exception& error) {
  const auto* own = dynamic_cast<const c10::Error*>(&error);
  std::string text = own != nullptr ? own->what_without_backtrace() : error.what();
  text = text.substr(0, text.find('\n'));
  return text;
}

// The package's own words for an input that does not fit, in ours; nothing for any other error.
std::optional<Error> input_error(const std::string& text, const Arguments& arguments) {
  std::smatch found;
  static const std::regex number("expected inputs vector size to be (\\d+), but got (\\d+)");
  if (std::regex_search(text, found, number)) {
    return Error("SCRIPT_ARGUMENTS", "Expected " + found[1].str() +
                                         " tensors, as the package was made for, for the inputs " + "but received " +
                                         found[2].str());
  }
  static const std::regex dtype("input_handles\\[(\\d+)\\]: unmatched dtype, expected: (\\d+).*, but got: (\\d+)");
  static const std::regex value("input_handles\\[(\\d+)\\]: (.*), expected(?:(?: it)? to be|:) (.*), but got: (.*)");
  static const std::regex place("input_handles\\[(\\d+)\\]: (.*)");
  const auto name = [&](const std::string& digits) {
    const size_t index = std::stoul(digits);
    return index < arguments.keywords.size() ? arguments.keywords[index].first : "input " + digits;
  };
  const auto type_name = [](const std::string& digits) {
    const int type = std::stoi(digits);
    return type < static_cast<int>(at::ScalarType::NumOptions) ? dtype_name(static_cast<at::ScalarType>(type)) : digits;
  };
  if (std::regex_search(text, found, dtype)) {
    return Error("SCRIPT_ARGUMENTS", "Expected dtype " + type_name(found[2]) + " for " + name(found[1]) +
                                         ", as the package was made for, but received " + type_name(found[3]));
  }
  if (std::regex_search(text, found, value)) {
    return Error("SCRIPT_ARGUMENTS", "Expected a tensor as the package was made for, for " + name(found[1]) +
                                         ", but received another: " + found[2].str() + ", expected " + found[3].str() +
                                         ", received " + found[4].str());
  }
  if (std::regex_search(text, found, place)) {
    return Error("SCRIPT_ARGUMENTS", "Expected a tensor as the package was made for, for " + name(found[1]) +
                                         ", but received another: " + found[2].str());
  }
  return std::nullopt;
}

// A package whose checks refuse an input throws before it takes the handles that libtorch made for it, and nobody
// deletes them. Each input is a tensor object of its own here, so a second reference to one is such a handle's: its
// memory is given back, and what is lost is a pointer. Not after any other error: an operator that ran may have kept
// it.
void take_back(const std::vector<at::Tensor>& inputs) {
  for (const at::Tensor& each : inputs) {
    if (each.use_count() == 2) c10::raw::intrusive_ptr::decref(each.unsafeGetTensorImpl());
  }
}

constexpr const char* kInputChecks = "AOTI_RUNTIME_CHECK_INPUTS";

// As the package reads it.
bool input_checks_are_on() {
  const char* set = std::getenv(kInputChecks);
  return set != nullptr && *set != '\0' && *set != '0';
}

// A package's checks read sizes and strides through bare pointers (aoti_torch_get_sizes, aoti_torch_get_strides), as
// many as the package was made for, however many the tensor has, each check up to the first that does not fit; only
// then the number of dimensions is compared (assert_size_stride), without which whoever unpacks a package refuses it. A
// tensor of up to five dimensions has them in itself: five sizes, five strides, then its offset and its number of
// elements. What a package for seven dimensions reads of it is its own memory, for more it may be what follows. Six and
// more dimensions lie on the heap in just the room that they take, where already the strides of one dimension more lie
// outside.
constexpr int64_t kMostDimensions = 5;

// An object of its own, with no other strides than its sizes have: a package with dynamic sizes may not look at them.
// The bits for conjugate and negative values are resolved: a package reads memory, and knows nothing of them.
at::Tensor input_of(const at::Tensor& tensor, const std::string& name) {
  if (tensor.layout() != at::kStrided) {
    throw Error("SCRIPT_ARGUMENTS", "Expected a dense tensor for " + name + " but received a sparse one");
  }
  if (tensor.dim() > kMostDimensions) {
    throw Error("INVALID_SHAPE", "Expected at most " + std::to_string(kMostDimensions) + " dimensions for " + name +
                                     ", as a package can check them safely, but received " +
                                     std::to_string(tensor.dim()));
  }
  const bool plain = tensor.strides() == at::IntArrayRef(c10::contiguous_strides(tensor.sizes()));
  const at::Tensor own = plain ? tensor.detach() : tensor.detach().clone(at::MemoryFormat::Contiguous);
  return own.resolve_conj().resolve_neg();
}

TensorInfo info_of(const std::string& name, const at::Tensor& tensor) {
  return {name, tensor.sizes().vec(), dtype_name(tensor.scalar_type()), tensor.device().str(), tensor.requires_grad()};
}

}  // namespace

void CompiledModule::turn_input_checks_on() {
  if (input_checks_are_on()) return;
#ifdef _WIN32
  _putenv_s(kInputChecks, "1");
#else
  setenv(kInputChecks, "1", 1);
#endif
}

void CompiledModule::before_run() const {
  if (!checks_inputs_) turn_input_checks_on();
}

std::shared_ptr<CompiledModule> CompiledModule::load(const CompiledRequest& request) {
  const c10::Device device = device_for(request);
  check_instructions(request);
  try {
    use_libtorch_threads();
    torch::NoGradGuard no_grad;
    auto loader = std::make_unique<torch::inductor::AOTIModelPackageLoader>(
        request.folder, request.model, false, request.runners, device.has_index() ? device.index() : -1);
    std::shared_ptr<CompiledModule> loaded(new CompiledModule(std::move(loader), device));
    CompiledInspection& found = loaded->inspection_;
    found.device = device.str();
    const std::vector<std::string> trees = loaded->loader_->get_call_spec();
    if (trees.size() == 2) {
      found.inputs = trees[0];
      found.outputs = trees[1];
    }
    for (const auto& [name, tensor] : loaded->loader_->get_runner()->extract_constants_map(false)) {
      found.constants.push_back(info_of(name, tensor));
      loaded->bytes_ += bytes_of_tensor(tensor);
    }
    std::sort(found.constants.begin(), found.constants.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    return loaded;
  } catch (const std::exception& error) {
    const Error refused = current_script_error();
    if (refused.code() == "OUT_OF_MEMORY") throw refused;
    throw Error("SCRIPT_UNSUPPORTED", "Expected a package that libtorch " TORCH_VERSION " can open for " +
                                          request.where + " but received one that it refuses: " + first_line(error));
  }
}

Value CompiledModule::run(Arguments arguments, bool keep) {
  use_libtorch_threads();
  torch::NoGradGuard no_grad;
  std::vector<at::Tensor> inputs, outputs;
  for (auto& [name, value] : arguments.keywords) {
    const auto where = [name = &name] { return *name; };
    inputs.push_back(input_of(to_ivalue(value, c10::TensorType::get(), where, device_).toTensor(), name));
    value = Value{};
  }
  if (!checks_inputs_ && !input_checks_are_on()) {
    throw Error("SCRIPT_UNSUPPORTED",
                "Expected AOTI_RUNTIME_CHECK_INPUTS to stay 1 in the environment until the package has run once, for "
                "the model but received another value");
  }
  try {
    const auto begin = Clock::now();
    outputs = loader_->run(inputs);
    checks_inputs_ = true;
    last_nanoseconds_ = std::chrono::nanoseconds(Clock::now() - begin).count();
  } catch (const std::exception& error) {
    // "expected ndim 2 but got 3", "expected size 3==3, stride 2==1 at dim=0" and the like: told of inputs alone.
    const std::string whole = error.what(), text = first_line(error);
    if (const auto refused = input_error(text, arguments)) {
      take_back(inputs);
      throw *refused;
    }
    if (whole.find("Error in op: input") != std::string::npos) {
      throw Error("SCRIPT_ARGUMENTS",
                  "Expected tensors as the package was made for, for the inputs but received others: " + text);
    }
    const Error raised = current_script_error();
    if (raised.code() == "OUT_OF_MEMORY") throw raised;
    throw Error("SCRIPT_RAISED", text, whole);
  }
  inputs.clear();
  Sequence results;
  for (at::Tensor& output : outputs) {
    if (output.defined()) {
      results.items.push_back(from_ivalue(std::move(output), keep));
    } else {
      results.items.push_back({None{}});
    }
  }
  outputs.clear();
  // A result may lie in the package's own memory, which goes with it: unlike TorchScript's, it does not keep that
  // alive.
  for (Value& item : results.items) {
    auto* kept = std::get_if<TensorValue>(&item.data);
    if (keep && kept != nullptr && kept->tensor.storage().use_count() > 1) kept->tensor = kept->tensor.clone();
  }
  Value value{std::move(results)};
  if (!keep) make_unshared(value);
  return value;
}

}  // namespace lenet5

#endif
