// Images on their way in: checked pixels, and their form as a libtorch tensor.
#pragma once

#include <torch/types.h>

#include <cstdint>

#include "../kernels/lenet5_kernels.h"

namespace lenet5 {

using Images = kernels::Images;

// Throws INVALID_PIXELS where float pixels hold NaN or infinity.
void check_finite(const Images& images);

// [count, 1, size, size], float32 in 0..1, on the device.
torch::Tensor to_tensor(const Images& images, const torch::Device& device);

// The images at `indices` of a uint8 set, in the same form.
torch::Tensor gather(const uint8_t* pixels, int size, const int64_t* indices, int64_t count,
                     const torch::Device& device);

}  // namespace lenet5
