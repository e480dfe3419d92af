// Between PyTorch's flat state-dict order and the packed layout.
#pragma once

#include "geometry.h"

namespace lenet5::kernels {

// `packed` must be zero where the layout has padding.
void pack(const float* flat, const Layout& layout, float* packed);
void unpack(const float* packed, const Layout& layout, float* flat);

}  // namespace lenet5::kernels
