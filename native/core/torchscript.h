// LeNet-5 out to TorchScript, and the check of what was written. Files are read in lib/formats, without libtorch,
// whose own way in runs what they hold.
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

}  // namespace lenet5
