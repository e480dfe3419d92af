#include "engines.h"

#include <atomic>

#include "error.h"

namespace lenet5 {

namespace {

std::atomic<const LibtorchEngine*> libtorch{nullptr};

kernels::InstructionSet choose_instruction_set(const std::string& name) {
  const auto supported = kernels::supported_instruction_sets();
  if (name == "auto") return supported.back();
  std::string list;
  for (kernels::InstructionSet set : supported) {
    if (name == kernels::name(set)) return set;
    list += (list.empty() ? "" : ", ") + std::string(kernels::name(set));
  }
  throw Error("ENGINE_UNAVAILABLE", "Expected one of this machine's instruction sets (" + list +
                                        ") for instructionSet but received \"" + name + "\"");
}

std::string choose_device(const EngineRequest& request) {
  const LibtorchEngine* torch = libtorch.load();
  if (request.device == "auto") {
    if (request.engine == "fused" || torch == nullptr) return "cpu";
    const std::string device = torch->resolve_device("auto");
    return device.compare(0, 4, "cuda") == 0 ? device : "cpu";
  }
  if (torch != nullptr) return torch->resolve_device(request.device);
  if (request.device == "cpu") return "cpu";
  throw Error(
      "DEVICE_UNAVAILABLE",
      "Expected the device cpu, the only one that the fused engine runs on, but received \"" + request.device + "\"");
}

}  // namespace

void plug_in_libtorch(const LibtorchEngine* engine) { libtorch.store(engine); }

std::unique_ptr<const Engine> make_engine(const EngineRequest& request) {
  if (request.engine != "auto" && request.engine != "fused" && request.engine != "libtorch") {
    throw Error("INVALID_OPTION",
                R"(Expected "auto", "fused" or "libtorch" for engine but received ")" + request.engine + "\"");
  }
  const std::string device = choose_device(request);
  const kernels::InstructionSet instruction_set = choose_instruction_set(request.instruction_set);
  if (request.engine == "fused" && device != "cpu") {
    throw Error("ENGINE_UNAVAILABLE", "Expected the device cpu for engine \"fused\" but received " + device);
  }
  if (device == "cpu" && request.engine != "libtorch") return make_fused_engine(request.num_classes, instruction_set);
  const LibtorchEngine* torch = libtorch.load();
  if (torch == nullptr) {
    throw Error("ENGINE_UNAVAILABLE", "Expected the engine fused, the only one here, but received \"libtorch\"");
  }
  return torch->make(request.num_classes, device);
}

}  // namespace lenet5
