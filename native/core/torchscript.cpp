// Problem: torch::save(module) writes an archive that torch.jit.load opens and that has no `forward`: the module in it
// is an empty shell around the parameters, and eval() and freeze() do not notice. Resolution: a jit module is put
// together by hand, with the parameters in submodules and `forward` compiled from TorchScript source that calls ATen's
// operators, and only then saved. Whoever writes a file loads it again and compares its answers before it is put in
// place.
#include "torchscript.h"

#include <torch/script.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include "../lenet5/error.h"
#include "../lenet5/number_text.h"
#include "../lenet5/parameters.h"

namespace lenet5 {

namespace {

std::string forward_source(const Normalization& normalization) {
  return R"(
def forward(self, x: Tensor) -> Tensor:
    if x.size(2) == 28:
        x = torch.constant_pad_nd(x, [2, 2, 2, 2], 0.0)
    x = torch.div(torch.sub(x, )" +
         float_literal(normalization.mean) + "), " + float_literal(normalization.std) + R"()
    x = torch.max_pool2d(torch.relu(torch.conv2d(x, self.c1.weight, self.c1.bias)), [2, 2])
    x = torch.max_pool2d(torch.relu(torch.conv2d(x, self.c3.weight, self.c3.bias)), [2, 2])
    x = torch.flatten(torch.relu(torch.conv2d(x, self.c5.weight, self.c5.bias)), 1)
    x = torch.relu(torch.addmm(self.f6.bias, x, torch.t(self.f6.weight)))
    x = torch.addmm(self.output.bias, x, torch.t(self.output.weight))
    return torch.log_softmax(x, 1)
)";
}

torch::jit::Module load(const std::string& archive, torch::jit::ExtraFilesMap& extra) {
  try {
    std::istringstream stream(archive);
    return torch::jit::load(stream, torch::kCPU, extra);
  } catch (...) {
    const Error error = current_error();
    throw Error("MODEL_CORRUPT",
                std::string("Expected a TorchScript archive for the model but received one that libtorch refuses: ") +
                    error.what(),
                error.detail());
  }
}

}  // namespace

std::string export_torchscript(const Weights& weights, const ExtraFiles& extra_files) {
  torch::NoGradGuard no_grad;
  torch::jit::Module model("__torch__.LeNet5");
  // freeze() and eval() look for it; an attribute that is missing reads as true.
  model.register_attribute("training", c10::BoolType::get(), false);
  torch::Tensor flat = torch::from_blob(const_cast<float*>(weights.parameters.data()),
                                        {static_cast<int64_t>(weights.parameters.size())});
  std::map<std::string, torch::jit::Module> layers;
  for (const ParameterInfo& info : parameter_table(weights.num_classes)) {
    const auto dot = info.name.find('.');
    const std::string layer = info.name.substr(0, dot);
    auto found = layers.find(layer);
    if (found == layers.end()) {
      found = layers.emplace(layer, torch::jit::Module("__torch__.LeNet5_" + layer)).first;
      found->second.register_attribute("training", c10::BoolType::get(), false);
    }
    found->second.register_parameter(info.name.substr(dot + 1),
                                     flat.narrow(0, info.offset, info.length).view(info.shape).clone(), false);
  }
  for (const char* layer : {"c1", "c3", "c5", "f6", "output"}) model.register_module(layer, layers.at(layer));
  model.define(forward_source(weights.normalization));
  std::ostringstream stream;
  torch::jit::ExtraFilesMap extra;
  for (const auto& [name, text] : extra_files) extra[name] = text;
  model.save(stream, extra);
  return stream.str();
}

double difference_from_torchscript(const Weights& weights, const std::string& archive) {
  torch::NoGradGuard no_grad;
  torch::jit::ExtraFilesMap extra;
  torch::jit::Module module = load(archive, extra);
  constexpr int64_t kCount = 16;
  double largest = 0;
  for (const int64_t size : {kImageSize, kPaddedSize}) {
    // Any fixed spread over 0..1 will do: the low-discrepancy sequence of the golden ratio.
    std::vector<float> pixels(static_cast<size_t>(kCount * size * size));
    for (size_t i = 0; i < pixels.size(); i++) {
      pixels[i] = static_cast<float>(std::fmod(static_cast<double>(i) * 0.6180339887498949, 1.0));
    }
    std::vector<float> own(static_cast<size_t>(kCount * weights.num_classes));
    predict(weights, {pixels.data(), kernels::PixelType::float32, static_cast<int>(size), kCount},
            {own.data(), nullptr, true});
    torch::Tensor images = torch::from_blob(pixels.data(), {kCount, 1, size, size});
    torch::Tensor other = module.forward({images}).toTensor().to(torch::kCPU, torch::kFloat32).contiguous();
    if (other.numel() != static_cast<int64_t>(own.size())) return std::numeric_limits<double>::infinity();
    const auto* values = other.data_ptr<float>();
    for (size_t i = 0; i < own.size(); i++) {
      const double difference = std::abs(static_cast<double>(own[i]) - static_cast<double>(values[i]));
      // Any comparison drops a NaN sooner or later; one of them is no answer at all.
      if (std::isnan(difference)) return difference;
      largest = std::max(largest, difference);
    }
  }
  return largest;
}

}  // namespace lenet5
