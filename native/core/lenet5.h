// LeNet-5 in libtorch: its parameters by name, its initialisation and its forward pass. The reference that the fused
// kernels are held to.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace lenet5 {

constexpr int64_t kImageSize = 28;
constexpr int64_t kPaddedSize = 32;

// Pixel normalisation in units of 0..1.
struct Normalization {
  double mean = 0.1307;
  double std = 0.3081;
};

struct ParameterInfo {
  std::string name;
  std::vector<int64_t> shape;
  int64_t offset;
  int64_t length;
};

// The parameters in state-dict order, which is also their order in every flat buffer.
std::vector<ParameterInfo> parameter_table(int64_t num_classes);
int64_t parameter_length(int64_t num_classes);

// Weights as PyTorch initialises nn.Conv2d and nn.Linear after torch.manual_seed(seed), in state-dict order: uniform in
// ±1/√fan_in (He et al. 2015 with a = √5, which is what nn.Linear and nn.Conv2d call).
torch::Tensor initial_parameters(int64_t num_classes, uint64_t seed);

// Leaf tensors that are views into one flat buffer, so that a libtorch optimiser and the kernels see the same memory.
std::vector<torch::Tensor> parameter_views(const torch::Tensor& flat, int64_t num_classes);

// Images [N, 1, 28, 28] or [N, 1, 32, 32], float32 in 0..1, to log-probabilities [N, num_classes].
torch::Tensor forward(const std::vector<torch::Tensor>& parameters, const Normalization& normalization,
                      const torch::Tensor& images);

}  // namespace lenet5
