// LeNet-5's parameters: their names, shapes and places in a flat buffer, and their initial values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lenet5 {

// The facade's limit (lib/lenet5/model-options.ts), and what the sizes of buffers below are computed from.
constexpr int64_t kMaxClasses = 10000;

struct ParameterInfo {
  std::string name;
  std::vector<int64_t> shape;
  int64_t offset;
  int64_t length;
};

// The parameters in state-dict order, which is also their order in every flat buffer.
std::vector<ParameterInfo> parameter_table(int64_t num_classes);
int64_t parameter_length(int64_t num_classes);

// Weights as PyTorch initialises nn.Conv2d and nn.Linear after torch.manual_seed(seed), flat: uniform in ±1/√fan_in (He
// et al. 2015 with a = √5, which is what nn.Linear and nn.Conv2d call).
std::vector<float> initial_parameters(int64_t num_classes, uint64_t seed);

}  // namespace lenet5
