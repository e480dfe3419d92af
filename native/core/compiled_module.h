// Packages of AOTInductor (.pt2): load, look into, run. What PyTorch compiled for one kind of machine, not TorchScript.
#pragma once

#include <torch/version.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "script_module.h"

// Whether libtorch loads a package from a folder, where what was unpacked has been checked.
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 13)
#define LENET5_COMPILED_PACKAGES 1
#else
#define LENET5_COMPILED_PACKAGES 0
#endif

#if LENET5_COMPILED_PACKAGES

#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

namespace lenet5 {

struct CompiledRequest {
  // An unpacked package: data/aotinductor/<model>/….
  std::string folder;
  std::string model;
  // Where it is to run; "auto" is what it was made for.
  std::string device;
  // What it was made for: "cpu", "cuda".
  std::string made_for;
  // Sets of instructions that its library uses, as PyTorch names them: "AVX512 AVX512_VNNI".
  std::string instructions;
  // Calls that may run at once.
  size_t runners = 1;
  // Names the file in messages.
  std::string where;
};

struct CompiledInspection {
  std::string device;
  std::vector<TensorInfo> constants;
  // PyTorch's trees of arguments and results, as JSON.
  std::string inputs, outputs;
};

class CompiledModule {
 public:
  // For the process, over the user's own setting: without the packages' checks a tensor of another shape is read beyond
  // its end. Before each load, on the thread where JavaScript changes the environment.
  static void turn_input_checks_on();

  // The same, before each run, where the package may yet have to read the setting: it does so once, when it first runs.
  void before_run() const;

  // Opens the package's library and runs its code. The folder may go once this returns. Throws SCRIPT_UNSUPPORTED,
  // DEVICE_UNAVAILABLE, INVALID_OPTION.
  static std::shared_ptr<CompiledModule> load(const CompiledRequest& request);

  // Takes the tensors in the order of the tree, each under the name that messages call it by; gives a sequence of
  // tensors and Nones. Throws SCRIPT_ARGUMENTS, INVALID_SHAPE for more than five dimensions,
  // INVALID_ARGUMENT for a handle on another device, SCRIPT_RAISED, SCRIPT_UNSUPPORTED.
  Value run(Arguments arguments, bool keep);

  // As ScriptModule has it.
  bool worth_a_thread() const { return last_nanoseconds_ > 50'000; }

  const CompiledInspection& inspect() const { return inspection_; }
  // Bytes of the constants.
  int64_t bytes() const { return bytes_; }

 private:
  CompiledModule(std::unique_ptr<torch::inductor::AOTIModelPackageLoader> loader, c10::Device device)
      : loader_(std::move(loader)), device_(device) {}

  std::unique_ptr<torch::inductor::AOTIModelPackageLoader> loader_;
  c10::Device device_;
  CompiledInspection inspection_;
  int64_t bytes_ = 0;
  // Whether the package has read that it is to check its inputs.
  std::atomic<bool> checks_inputs_{false};
  std::atomic<int64_t> last_nanoseconds_{INT64_MAX};
};

}  // namespace lenet5

#endif
