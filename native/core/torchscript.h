// LeNet-5 out to TorchScript and back.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "lenet5.h"

namespace lenet5 {

using ExtraFiles = std::map<std::string, std::string>;

// The bytes of an archive that torch.jit.load reads: a module with `forward`, submodules c1, c3, c5, f6 and output with
// the state dict's names, and the extra files given. `parameters`: flat, on the CPU.
std::string export_torchscript(int64_t num_classes, const Normalization& normalization,
                               const std::vector<float>& parameters, const ExtraFiles& extra_files);

// Loads an archive and runs its forward: log-probabilities of a fixed batch of 28×28 noise, then of the same batch on a
// 32×32 canvas. Throws MODEL_CORRUPT.
std::vector<float> run_torchscript(const std::string& archive, const std::vector<float>& pixels, int64_t size,
                                   int64_t count);

struct NamedTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> data;
};

struct TorchScriptContents {
  std::vector<NamedTensor> tensors;
  std::string extra_file;  // "" where there is none
};

// The parameters and buffers of an archive and one of its extra files; `forward` is not called. Refuses more than
// `max_elements` in all with MODEL_MISMATCH: whatever has more is no LeNet-5.
TorchScriptContents read_torchscript(const std::string& archive, const std::string& extra_file, int64_t max_elements);

}  // namespace lenet5
