// LeNet-5 out to TorchScript and back.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "../lenet5/model.h"

namespace lenet5 {

using ExtraFiles = std::map<std::string, std::string>;

// The bytes of an archive that torch.jit.load reads: a module with `forward`, submodules c1, c3, c5, f6 and output with
// the state dict's names, and the extra files given.
std::string export_torchscript(const Weights& weights, const ExtraFiles& extra_files);

// Loads an archive and runs its forward over a fixed batch, of 28×28 images and of 32×32: the largest difference
// between its log-probabilities and those of `weights`. Throws MODEL_CORRUPT.
double difference_from_torchscript(const Weights& weights, const std::string& archive);

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
