#include "lenet5.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/torch.h>

#include <cmath>
#include <numeric>

namespace lenet5 {

std::vector<ParameterInfo> parameter_table(int64_t num_classes) {
  std::vector<ParameterInfo> table;
  int64_t offset = 0;
  auto add = [&](const char* name, std::vector<int64_t> shape) {
    int64_t length = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<int64_t>());
    table.push_back({name, std::move(shape), offset, length});
    offset += length;
  };
  add("c1.weight", {6, 1, 5, 5});
  add("c1.bias", {6});
  add("c3.weight", {16, 6, 5, 5});
  add("c3.bias", {16});
  add("c5.weight", {120, 16, 5, 5});
  add("c5.bias", {120});
  add("f6.weight", {84, 120});
  add("f6.bias", {84});
  add("output.weight", {num_classes, 84});
  add("output.bias", {num_classes});
  return table;
}

int64_t parameter_length(int64_t num_classes) {
  const auto last = parameter_table(num_classes).back();
  return last.offset + last.length;
}

torch::Tensor initial_parameters(int64_t num_classes, uint64_t seed) {
  torch::NoGradGuard no_grad;
  at::Generator generator = at::detail::createCPUGenerator(seed);
  torch::Tensor flat = torch::empty({parameter_length(num_classes)});
  double bound = 0;
  for (const ParameterInfo& info : parameter_table(num_classes)) {
    // A bias follows its weight and has the same bound.
    if (info.shape.size() > 1) {
      const double fan_in = static_cast<double>(info.length) / static_cast<double>(info.shape[0]);
      bound = 1.0 / std::sqrt(fan_in);
    }
    torch::Tensor fresh = torch::empty(info.shape);
    fresh.uniform_(-bound, bound, generator);
    flat.narrow(0, info.offset, info.length).copy_(fresh.view({-1}));
  }
  return flat;
}

std::vector<torch::Tensor> parameter_views(const torch::Tensor& flat, int64_t num_classes) {
  std::vector<torch::Tensor> views;
  for (const ParameterInfo& info : parameter_table(num_classes)) {
    views.push_back(flat.detach().narrow(0, info.offset, info.length).view(info.shape));
  }
  return views;
}

torch::Tensor forward(const std::vector<torch::Tensor>& p, const Normalization& normalization,
                      const torch::Tensor& images) {
  torch::Tensor x = images;
  if (x.size(2) == kImageSize) x = at::constant_pad_nd(x, {2, 2, 2, 2}, 0);
  x = (x - normalization.mean) / normalization.std;
  x = at::max_pool2d(at::relu(at::conv2d(x, p[0], p[1])), {2, 2});
  x = at::max_pool2d(at::relu(at::conv2d(x, p[2], p[3])), {2, 2});
  x = at::relu(at::conv2d(x, p[4], p[5])).flatten(1);
  x = at::relu(at::addmm(p[7], x, p[6].t()));
  x = at::addmm(p[9], x, p[8].t());
  return at::log_softmax(x, 1);
}

}  // namespace lenet5
