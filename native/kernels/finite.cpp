#include <cstdint>
#include <cstring>

#include "lenet5_kernels.h"

namespace lenet5::kernels {

// Infinity and NaN have all bits of the exponent set. Sixteen separate maxima, so that the loop becomes vectors without
// leave to reorder floating-point sums.
bool all_finite(const float* values, int64_t count) {
  constexpr int kLanes = 16;
  uint32_t largest[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    uint32_t bits[kLanes];
    std::memcpy(bits, values + i, sizeof bits);
    for (int lane = 0; lane < kLanes; lane++) {
      const uint32_t magnitude = bits[lane] & 0x7fffffffu;
      // Signed: SSE2 has no unsigned comparison, and the sign is gone.
      largest[lane] = static_cast<int32_t>(magnitude) > static_cast<int32_t>(largest[lane]) ? magnitude : largest[lane];
    }
  }
  for (; i < count; i++) {
    uint32_t bits;
    std::memcpy(&bits, values + i, sizeof bits);
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > largest[0]) largest[0] = magnitude;
  }
  for (uint32_t magnitude : largest) {
    if (magnitude >= 0x7f800000u) return false;
  }
  return true;
}

}  // namespace lenet5::kernels
