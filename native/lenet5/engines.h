// Which engine computes a model.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "engine.h"

namespace lenet5 {

// What a caller asks for; the facade's names and defaults.
struct EngineRequest {
  int64_t num_classes = 10;
  std::string device = "auto";
  std::string engine = "auto";           // "auto", "fused" or "libtorch"
  std::string instruction_set = "auto";  // "auto" or one of the kernels' names
};

// The fused engine computes on the CPU alone, and there it is the faster one: `auto` takes it unless the device is
// another. `auto` as a device is CUDA where it is there, unless the fused engine was asked for; it is never Apple's
// mps, on which a network this small gains nothing over the kernels. Throws DEVICE_UNAVAILABLE, ENGINE_UNAVAILABLE,
// INVALID_OPTION.
std::unique_ptr<const Engine> make_engine(const EngineRequest& request);

std::unique_ptr<const Engine> make_fused_engine(int64_t num_classes, kernels::InstructionSet instruction_set);

// Libtorch as this room sees it: an addon that is linked without it has none.
struct LibtorchEngine {
  // A device's full name. Throws INVALID_OPTION, DEVICE_UNAVAILABLE.
  std::string (*resolve_device)(const std::string& name);
  std::unique_ptr<const Engine> (*make)(int64_t num_classes, const std::string& device);
};
// To be called before the first model is made. Null takes it back.
void plug_in_libtorch(const LibtorchEngine* engine);

}  // namespace lenet5
