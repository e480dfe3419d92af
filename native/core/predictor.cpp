#include "predictor.h"

#include <torch/torch.h>

#include <algorithm>

namespace lenet5 {

namespace {

class FusedPredictor : public Predictor {
 public:
  FusedPredictor(const Placement& placement, const Normalization& normalization, const std::vector<float>& parameters)
      : forward_(parameters.data(), static_cast<int>(placement.num_classes), static_cast<float>(normalization.mean),
                 static_cast<float>(normalization.std), placement.instruction_set) {}

  void run(const Images& images, float* log_probabilities) const override { forward_.run(images, log_probabilities); }

 private:
  kernels::Forward forward_;
};

class LibtorchPredictor : public Predictor {
 public:
  LibtorchPredictor(const Placement& placement, const Normalization& normalization,
                    const std::vector<float>& parameters)
      : device_(placement.device), normalization_(normalization) {
    torch::Tensor flat =
        torch::from_blob(const_cast<float*>(parameters.data()), {static_cast<int64_t>(parameters.size())}).clone();
    parameters_ = parameter_views(flat.to(device_), placement.num_classes);
  }

  void run(const Images& images, float* log_probabilities) const override {
    torch::NoGradGuard no_grad;
    torch::Tensor result = forward(parameters_, normalization_, to_tensor(images, device_));
    result = result.to(torch::kCPU).contiguous();
    std::copy_n(result.data_ptr<float>(), result.numel(), log_probabilities);
  }

 private:
  torch::Device device_;
  Normalization normalization_;
  std::vector<torch::Tensor> parameters_;
};

}  // namespace

std::shared_ptr<const Predictor> make_predictor(const Placement& placement, const Normalization& normalization,
                                                const std::vector<float>& parameters) {
  if (placement.engine == EngineKind::fused) {
    return std::make_shared<FusedPredictor>(placement, normalization, parameters);
  }
  return std::make_shared<LibtorchPredictor>(placement, normalization, parameters);
}

Evaluation evaluate(const Predictor& predictor, int64_t num_classes, const Images& images, const int32_t* labels,
                    int64_t batch) {
  Evaluation result{0, std::vector<double>(num_classes * num_classes, 0)};
  const int64_t pixel_bytes =
      int64_t{images.size} * images.size * (images.type == kernels::PixelType::uint8 ? 1 : int64_t{sizeof(float)});
  std::vector<float> scores(std::min(batch, images.count) * num_classes);
  for (int64_t start = 0; start < images.count; start += batch) {
    const int64_t count = std::min(batch, images.count - start);
    Images part = images;
    part.pixels = static_cast<const char*>(images.pixels) + start * pixel_bytes;
    part.count = count;
    predictor.run(part, scores.data());
    for (int64_t i = 0; i < count; i++) {
      const float* row = scores.data() + i * num_classes;
      const int64_t actual = labels[start + i];
      result.loss -= row[actual];
      result.confusion[actual * num_classes + (std::max_element(row, row + num_classes) - row)] += 1;
    }
  }
  result.loss /= static_cast<double>(std::max<int64_t>(images.count, 1));
  return result;
}

}  // namespace lenet5
