#include "pixels.h"

#include <torch/torch.h>

#include <cmath>
#include <cstring>

#include "error.h"

namespace lenet5 {

void check_finite(const Images& images) {
  if (images.type != kernels::PixelType::float32) return;
  const auto* pixels = static_cast<const float*>(images.pixels);
  const int64_t length = images.count * images.size * images.size;
  if (kernels::all_finite(pixels, length)) return;
  for (int64_t i = 0; i < length; i++) {
    if (std::isfinite(pixels[i])) continue;
    throw Error("INVALID_PIXELS", "Expected finite numbers for images but received " +
                                      std::string(std::isnan(pixels[i]) ? "NaN" : "infinity") + " at pixel " +
                                      std::to_string(i));
  }
}

torch::Tensor to_tensor(const Images& images, const torch::Device& device) {
  const auto dtype = images.type == kernels::PixelType::uint8 ? torch::kUInt8 : torch::kFloat32;
  torch::Tensor raw =
      torch::from_blob(const_cast<void*>(images.pixels), {images.count, 1, images.size, images.size}, dtype);
  torch::Tensor moved = raw.to(device);
  return dtype == torch::kUInt8 ? moved.to(torch::kFloat32).div_(255.0) : moved;
}

torch::Tensor gather(const uint8_t* pixels, int size, const int64_t* indices, int64_t count,
                     const torch::Device& device) {
  const int64_t length = int64_t{size} * size;
  torch::Tensor raw = torch::empty({count, 1, size, size}, torch::kUInt8);
  auto* out = raw.data_ptr<uint8_t>();
  for (int64_t i = 0; i < count; i++) std::memcpy(out + i * length, pixels + indices[i] * length, length);
  return raw.to(device).to(torch::kFloat32).div_(255.0);
}

}  // namespace lenet5
