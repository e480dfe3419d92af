#include "packing.h"

namespace lenet5::kernels {
namespace {

int64_t dense_at(int64_t output, int64_t input, int64_t inputs) {
  return ((output / kPanel) * inputs + input) * kPanel + output % kPanel;
}

// Calls visit(packed offset, flat offset) for every parameter.
template <typename Visit>
void each_parameter(const Layout& layout, Visit&& visit) {
  int64_t flat = 0;
  for (int i = 0; i < kC1 * kTaps * kTaps; ++i) visit(Layout::c1_weight + i, flat++);
  for (int i = 0; i < kC1; ++i) visit(Layout::c1_bias + i, flat++);
  for (int n = 0; n < kC3; ++n) {
    for (int i = 0; i < kC1 * kTaps * kTaps; ++i) visit(Layout::c3_weight + i * kC3 + n, flat++);
  }
  for (int i = 0; i < kC3; ++i) visit(Layout::c3_bias + i, flat++);
  for (int n = 0; n < kC5; ++n) {
    for (int c = 0; c < kC3; ++c) {
      for (int p = 0; p < kS4Size; ++p) visit(Layout::c5_weight + dense_at(n, p * kC3 + c, kFeatures), flat++);
    }
  }
  for (int i = 0; i < kC5; ++i) visit(Layout::c5_bias + i, flat++);
  for (int n = 0; n < kF6; ++n) {
    for (int k = 0; k < kC5; ++k) visit(Layout::f6_weight + dense_at(n, k, kC5), flat++);
  }
  for (int i = 0; i < kF6; ++i) visit(Layout::f6_bias + i, flat++);
  for (int n = 0; n < layout.classes; ++n) {
    for (int k = 0; k < kF6; ++k) visit(Layout::output_weight + dense_at(n, k, kF6), flat++);
  }
  for (int i = 0; i < layout.classes; ++i) visit(layout.output_bias + i, flat++);
}

}  // namespace

void pack(const float* flat, const Layout& layout, float* packed) {
  each_parameter(layout, [=](int64_t p, int64_t f) { packed[p] = flat[f]; });
}

void unpack(const float* packed, const Layout& layout, float* flat) {
  each_parameter(layout, [=](int64_t p, int64_t f) { flat[f] = packed[p]; });
}

}  // namespace lenet5::kernels
