// The backward pass of the convolutions of one image.
//
// Problem: the backward convolutions are twice the forward ones, and the answer is mostly zero: pooling lets the gradient
// through at one position in four, ReLU closes many of those. Resolution: visit only what is open. One pooled output
// touches a patch of 5×5 taps × 6 channels; with s2 as [position][channel] a row of that patch is 30 neighbouring floats.
//   weights of c3: for each output channel, sums over its open outputs, all 150 of them in registers
//   input of c3:   for each tile, sums over its open channels; all the outputs a tile can hold see one window of 6×6
//                  positions, so their kernels, shifted into that window beforehand, add up in registers
//   weights of c1: for each channel, sums over its open outputs
#pragma once

#include "kernel_table.h"
#include "simd.h"

namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE {
namespace {

constexpr int kS2Row = kS2 * kC1;  // floats in a row of s2 as [position][channel]

void prepare_windows(const float* packed, WindowWeights* out) {
  for (int choice = 0; choice < 4; ++choice) {
    for (int n = 0; n < kC3; ++n) {
      float* window = out->c3[choice][n];
      for (int i = 0; i < kWindow; ++i) window[i] = 0;
      for (int c = 0; c < kC1; ++c) {
        for (int y = 0; y < kTaps; ++y) {
          for (int x = 0; x < kTaps; ++x) {
            window[((choice / 2 + y) * 6 + choice % 2 + x) * kC1 + c] =
                packed[Layout::c3_weight + ((c * kTaps + y) * kTaps + x) * kC3 + n];
          }
        }
      }
    }
  }
}

// Adds to `Rows` rows of taps of one output channel's gradient.
template <int Rows>
LENET5_INLINE void c3_weight_rows(const float* s2, const int32_t* offsets, const float* gradients, int count,
                                  float (*sums)[32]) {
  constexpr int vectors = 32 / kWidth;
  Vector sum[Rows][vectors];
  LENET5_UNROLL
  for (int y = 0; y < Rows; ++y) {
    LENET5_UNROLL
    for (int v = 0; v < vectors; ++v) sum[y][v] = load(&sums[y][v * kWidth]);
  }
#pragma GCC unroll 1
  for (int i = 0; i < count; ++i) {
    const Vector g = all(gradients[i]);
    const float* patch = s2 + offsets[i];
    LENET5_UNROLL
    for (int y = 0; y < Rows; ++y) {
      LENET5_UNROLL
      for (int v = 0; v < vectors; ++v) sum[y][v] = fma(g, load(patch + y * kS2Row + v * kWidth), sum[y][v]);
    }
  }
  LENET5_UNROLL
  for (int y = 0; y < Rows; ++y) {
    LENET5_UNROLL
    for (int v = 0; v < vectors; ++v) store(&sums[y][v * kWidth], sum[y][v]);
  }
}

LENET5_INLINE void c3_weight_gradient(const ConvolutionTrace& trace, const float* g, BackwardScratch& scratch,
                                      ConvolutionGradients& sums) {
  for (int n = 0; n < kC3; ++n) {
    int count = 0;
    float bias = 0;
    for (int t = 0; t < kS4Size; ++t) {
      const float gradient = g[t * kC3 + n];
      const int choice = trace.s4_choice[t * kC3 + n];
      const int y = 2 * (t / kS4) + choice / 2, x = 2 * (t % kS4) + choice % 2;
      scratch.gradient_list[count] = gradient;
      scratch.offset_list[count] = (y * kS2 + x) * kC1;
      bias += gradient;
      count += gradient != 0;
    }
    sums.c3_bias[n] += bias;
    const float* list = scratch.gradient_list;
    const int32_t* offsets = scratch.offset_list;
    if constexpr (kWidth == 16) {
      c3_weight_rows<5>(trace.s2, offsets, list, count, sums.c3[n]);
    } else if constexpr (kWidth == 8) {
      c3_weight_rows<3>(trace.s2, offsets, list, count, sums.c3[n]);
      c3_weight_rows<2>(trace.s2 + 3 * kS2Row, offsets, list, count, sums.c3[n] + 3);
    } else {
      for (int y = 0; y < kTaps; ++y) c3_weight_rows<1>(trace.s2 + y * kS2Row, offsets, list, count, sums.c3[n] + y);
    }
  }
}

LENET5_INLINE void c3_input_gradient(const WindowWeights& weights, const ConvolutionTrace& trace, const float* g,
                                     BackwardScratch& scratch) {
  constexpr int vectors = kWidth == 16 ? 14 : kWidth == 8 ? 7 : 8;
  for (int i = 0; i < kS2Size * kC1 + 64; i += kWidth) store(scratch.s2_gradient + i, zero());
  for (int t = 0; t < kS4Size; ++t) {
    const float* open[kC3];
    float gradients[kC3];
    int count = 0;
    for (int n = 0; n < kC3; ++n) {
      gradients[count] = g[t * kC3 + n];
      open[count] = weights.c3[trace.s4_choice[t * kC3 + n]][n];
      count += gradients[count] != 0;
    }
    if (count == 0) continue;
    alignas(64) float window[kWindow];
    for (int at = 0; at < kWindow; at += vectors * kWidth) {
      Vector sum[vectors];
      LENET5_UNROLL
      for (int v = 0; v < vectors; ++v) sum[v] = zero();
#pragma GCC unroll 1
      for (int i = 0; i < count; ++i) {
        const Vector gradient = all(gradients[i]);
        LENET5_UNROLL
        for (int v = 0; v < vectors; ++v) sum[v] = fma(gradient, load(open[i] + at + v * kWidth), sum[v]);
      }
      LENET5_UNROLL
      for (int v = 0; v < vectors; ++v) store(window + at + v * kWidth, sum[v]);
    }
    for (int y = 0; y < 6; ++y) {
      float* out = scratch.s2_gradient + ((2 * (t / kS4) + y) * kS2 + 2 * (t % kS4)) * kC1;
      for (int i = 0; i < 36; ++i) out[i] += window[y * 36 + i];
    }
  }
}

template <typename Pixel>
LENET5_INLINE void read_pixels(const Pixel* pixels, int size, float* out) {
  const int margin = (kCanvas - size) / 2;
  if (margin) {
    for (int i = 0; i < kCanvas * kCanvas; ++i) out[i] = 0;
  }
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      out[(y + margin) * kCanvas + margin + x] = static_cast<float>(pixels[y * size + x]);
    }
  }
}

LENET5_INLINE void c1_weight_gradient(const ConvolutionTrace& trace, BackwardScratch& scratch,
                                      ConvolutionGradients& sums) {
  constexpr int vectors = kWidth >= 8 ? 1 : 2;
  typedef float Eight __attribute__((vector_size(4 * (kWidth >= 8 ? 8 : 4)), aligned(4), may_alias));
  typedef float Lanes __attribute__((vector_size(4 * (kWidth >= 8 ? 8 : 4))));
  for (int c = 0; c < kC1; ++c) {
    int count = 0;
    float bias = 0;
    for (int y = 0; y < kS2; ++y) {
      for (int x = 0; x < kS2; ++x) {
        const int at = (y * kS2 + x) * kC1 + c;
        const float gradient = trace.s2[at] > 0 ? scratch.s2_gradient[at] : 0;
        const int choice = trace.s2_choice[at];
        scratch.gradient_list[count] = gradient;
        scratch.offset_list[count] = (2 * y + choice / 2) * kCanvas + 2 * x + choice % 2;
        bias += gradient;
        count += gradient != 0;
      }
    }
    sums.c1_bias[c] += bias;
    for (int v = 0; v < vectors; ++v) {
      Lanes sum[2][kTaps];
      LENET5_UNROLL
      for (int y = 0; y < kTaps; ++y) {
        sum[0][y] = *reinterpret_cast<const Eight*>(&sums.c1[c][y][v * 4]);
        sum[1][y] = Lanes{};
      }
      // An even count lets two patches be summed independently; the gradient after the last one counts as zero.
      scratch.gradient_list[count] = 0;
      scratch.offset_list[count] = 0;
#pragma GCC unroll 1
      for (int i = 0; i < count; i += 2) {
        LENET5_UNROLL
        for (int k = 0; k < 2; ++k) {
          const float g = scratch.gradient_list[i + k];
          const float* patch = scratch.pixels + scratch.offset_list[i + k] + v * 4;
          LENET5_UNROLL
          for (int y = 0; y < kTaps; ++y) {
            sum[k][y] += g * *reinterpret_cast<const Eight*>(patch + y * kCanvas);
          }
        }
      }
      LENET5_UNROLL
      for (int y = 0; y < kTaps; ++y) *reinterpret_cast<Eight*>(&sums.c1[c][y][v * 4]) = sum[0][y] + sum[1][y];
    }
  }
}

void convolve_backward(const WindowWeights& weights, const void* pixels, PixelType type, int size,
                       const ConvolutionTrace& trace, const float* features, const float* features_gradient,
                       BackwardScratch& scratch, ConvolutionGradients& sums) {
  alignas(64) float g[kFeatures];
  for (int i = 0; i < kFeatures; i += kWidth) {
    store(g + i, where_positive(load(features + i), load(features_gradient + i)));
  }
  c3_weight_gradient(trace, g, scratch, sums);
  c3_input_gradient(weights, trace, g, scratch);
  if (type == PixelType::uint8) read_pixels(static_cast<const uint8_t*>(pixels), size, scratch.pixels);
  else read_pixels(static_cast<const float*>(pixels), size, scratch.pixels);
  c1_weight_gradient(trace, scratch, sums);
}

}  // namespace
}  // namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE
