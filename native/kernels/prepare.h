// The convolutions' parameters as the forward pass reads them.
#pragma once

#include "kernel_table.h"
#include "winograd.h"

namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE {
namespace {

// Weights of c1 with normalisation folded in, (p/255 - mean) / std for a byte p, exactly, because the border is black
// before normalisation; and both layers' kernels in Winograd's domain.
void prepare(const float* packed, float mean, float std, ConvolutionWeights* out) {
  const float* c1 = packed + Layout::c1_weight;
  for (int c = 0; c < kC1; ++c) {
    float sum = 0;
    for (int y = 0; y < kTaps; ++y) {
      Vector g[kTaps], u[6];
      for (int x = 0; x < kTaps; ++x) {
        const float w = c1[(c * kTaps + y) * kTaps + x];
        sum += w;
        g[x] = all(w / std);
      }
      transform_kernel(g, u);
      for (int k = 0; k < 6; ++k) {
        out->c1_float[c][y][k] = u[k][0];
        out->c1_bytes[c][y][k] = u[k][0] / 255.0f;
      }
    }
    out->c1_bias[c] = packed[Layout::c1_bias + c] - mean / std * sum;
  }
  for (int h = 0; h < kC3; h += kWidth) {
    for (int c = 0; c < kC1; ++c) {
      Vector rows[6][kTaps];
      for (int y = 0; y < kTaps; ++y) {
        Vector g[kTaps], u[6];
        for (int x = 0; x < kTaps; ++x) {
          g[x] = load(packed + Layout::c3_weight + ((c * kTaps + y) * kTaps + x) * kC3 + h);
        }
        transform_kernel(g, u);
        for (int k = 0; k < 6; ++k) rows[k][y] = u[k];
      }
      for (int k = 0; k < 6; ++k) {
        Vector u[6];
        transform_kernel(rows[k], u);
        for (int i = 0; i < 6; ++i) store(&out->c3[i][c][k][h], u[i]);
      }
    }
    store(out->c3_bias + h, load(packed + Layout::c3_bias + h));
  }
}

}  // namespace
}  // namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE
