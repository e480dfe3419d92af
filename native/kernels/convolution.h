// The forward convolutions of one image: pixels → c1, ReLU, s2 → c3, ReLU, s4.
//
// Only pooled values are ever written: bias and ReLU commute with the maximum, so they are applied to one value in four.
// c1 has vectors along a row of the image (one dimension of Winograd's filtering, the other direct: with one input
// channel the second transform would cost what it saves); c3 has vectors over its 16 output channels and both dimensions.
#pragma once

#include "kernel_table.h"
#include "winograd.h"

namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE {
namespace {

// Reads one row of pixels and lays it out so that lane e < 7 of d[m] is the m-th pixel under the pooled column 2e, and
// lane 8 + e that under the pooled column 2e + 1. Lanes 7 and 15 hold nothing of use.
template <typename Pixel>
LENET5_INLINE void read_row(const Pixel* pixels, int size, float* row, float (*d)[16]) {
  const int margin = (kCanvas - size) / 2;
  for (int i = 0; i < 48; ++i) row[i] = 0;
  for (int i = 0; i < size; ++i) row[margin + i] = static_cast<float>(pixels[i]);
  for (int m = 0; m < 6; ++m) {
    for (int e = 0; e < 8; ++e) {
      d[m][e] = row[4 * e + m];
      d[m][8 + e] = row[4 * e + 2 + m];
    }
  }
}

template <typename Pixel>
void transform_pixels(const Pixel* pixels, int size, ConvolutionScratch& scratch) {
  const int margin = (kCanvas - size) / 2;
  for (int y = 0; y < kCanvas; ++y) {
    float(*out)[16] = scratch.c1_input[y];
    if (y < margin || y >= kCanvas - margin) {
      for (int i = 0; i < 96; i += kWidth) store(&out[0][i], zero());
      continue;
    }
    alignas(64) float lanes[6][16];
    read_row(pixels + (y - margin) * size, size, scratch.row, lanes);
    for (int h = 0; h < 16; h += kWidth) {
      Vector d[6], v[6];
      LENET5_UNROLL
      for (int k = 0; k < 6; ++k) d[k] = load(&lanes[k][h]);
      transform_input(d, v);
      LENET5_UNROLL
      for (int k = 0; k < 6; ++k) store(&out[k][h], v[k]);
    }
  }
}

// The maximum of a 2×2 window in scan order, and which it was: the first one on a tie, as PyTorch takes it.
LENET5_INLINE Vector maximum(const Vector (*y)[2]) { return larger(larger(y[0][0], y[0][1]), larger(y[1][0], y[1][1])); }
LENET5_INLINE Vector maximum(const Vector (*y)[2], int32_t* choice) {
  Vector best = y[0][0];
  IntVector index{};
  LENET5_UNROLL
  for (int k = 1; k < 4; ++k) {
    const Vector candidate = y[k / 2][k % 2];
    const IntVector better = candidate > best;
    index = choose(better, IntVector{} + k, index);
    best = choose(better, candidate, best);
  }
  store(choice, index);
  return best;
}

// c1 for `Channels` channels at once over 16 lanes of pooled columns in steps of the vector width.
template <int Channels, bool Trace>
LENET5_INLINE void c1_block(const float (*weights)[kTaps][6], const float* bias, int channel,
                            ConvolutionScratch& scratch) {
  for (int r = 0; r < kS2; ++r) {
    for (int h = 0; h < 16; h += kWidth) {
      Vector sum[Channels][2][6];
      LENET5_UNROLL
      for (int row = 0; row < 6; ++row) {
        LENET5_UNROLL
        for (int k = 0; k < 6; ++k) {
          const Vector v = load(&scratch.c1_input[2 * r + row][k][h]);
          LENET5_UNROLL
          for (int c = 0; c < Channels; ++c) {
            if (row == 0) sum[c][0][k] = v * all(weights[channel + c][0][k]);
            else if (row < kTaps) sum[c][0][k] = fma(v, all(weights[channel + c][row][k]), sum[c][0][k]);
            if (row == 1) sum[c][1][k] = v * all(weights[channel + c][0][k]);
            else if (row > 1) sum[c][1][k] = fma(v, all(weights[channel + c][row - 1][k]), sum[c][1][k]);
          }
        }
      }
      LENET5_UNROLL
      for (int c = 0; c < Channels; ++c) {
        Vector y[2][2];
        transform_output(sum[c][0], y[0]);
        transform_output(sum[c][1], y[1]);
        Vector best;
        if constexpr (Trace) best = maximum(y, &scratch.s2_choice[channel + c][r][h]);
        else best = maximum(y);
        store(&scratch.s2[channel + c][r][h], larger(zero(), best + all(bias[channel + c])));
      }
    }
  }
}

template <bool Trace>
LENET5_INLINE void c1_layer(const float (*weights)[kTaps][6], const float* bias, ConvolutionScratch& scratch) {
  constexpr int channels = kManyRegisters ? 2 : 1;
  for (int c = 0; c < kC1; c += channels) c1_block<channels, Trace>(weights, bias, c, scratch);
}

// s2 under one row of c3's tiles → Winograd's domain in both dimensions.
LENET5_INLINE void transform_s2(int tile_row, ConvolutionScratch& scratch) {
  for (int c = 0; c < kC1; ++c) {
    for (int h = 0; h < 16; h += kWidth) {
      Vector d[6], v[6];
      LENET5_UNROLL
      for (int i = 0; i < 6; ++i) d[i] = load(&scratch.s2[c][2 * tile_row + i][h]);
      transform_input(d, v);
      LENET5_UNROLL
      for (int i = 0; i < 6; ++i) store(&scratch.c3_rows[c][i][h], v[i]);
    }
  }
  // Tile t of a row sees columns 2t … 2t + 5: the even lanes t, t + 1, t + 2 and the odd ones.
#if defined(__AVX512F__)
  for (int i = 0; i < 6; ++i) {
    for (int c = 0; c < kC1; c += 2) {
      const float* a = scratch.c3_rows[c][i];
      const float* b = scratch.c3_rows[c + 1][i];
      Vector d[6], v[6];
      LENET5_UNROLL
      for (int k = 0; k < 6; ++k) {
        const int at = (k % 2) * 8 + k / 2;
        d[k] = _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(a + at)), _mm256_loadu_ps(b + at), 1);
      }
      transform_input(d, v);
      LENET5_UNROLL
      for (int k = 0; k < 6; ++k) store(scratch.c3_input[i][k][c], v[k]);
    }
  }
#else
  for (int i = 0; i < 6; ++i) {
    for (int c = 0; c < kC1; ++c) {
      for (int h = 0; h < 8; h += kWidth) {
        Vector d[6], v[6];
        LENET5_UNROLL
        for (int k = 0; k < 6; ++k) d[k] = load(&scratch.c3_rows[c][i][0] + (k % 2) * 8 + k / 2 + h);
        transform_input(d, v);
        LENET5_UNROLL
        for (int k = 0; k < 6; ++k) store(&scratch.c3_input[i][k][c][h], v[k]);
      }
    }
  }
#endif
}

// Products of one row of tiles: `Tiles` tiles from `first` on, output channels h … h + width.
template <int Tiles>
LENET5_INLINE void c3_products(const ConvolutionWeights& weights, int first, int h, ConvolutionScratch& scratch) {
  for (int i = 0; i < 6; ++i) {
    Vector sum[Tiles][6];
    LENET5_UNROLL
    for (int t = 0; t < Tiles; ++t) {
      LENET5_UNROLL
      for (int k = 0; k < 6; ++k) sum[t][k] = zero();
    }
#pragma GCC unroll 1
    for (int c = 0; c < kC1; ++c) {
      LENET5_UNROLL
      for (int k = 0; k < 6; ++k) {
        const Vector u = load(&weights.c3[i][c][k][h]);
        const float* input = &scratch.c3_input[i][k][c][first];
        LENET5_UNROLL
        for (int t = 0; t < Tiles; ++t) sum[t][k] = fma(u, all(input[t]), sum[t][k]);
      }
    }
    LENET5_UNROLL
    for (int t = 0; t < Tiles; ++t) {
      Vector y[2];
      transform_output(sum[t], y);
      store(&scratch.c3_sums[i][0][first + t][h], y[0]);
      store(&scratch.c3_sums[i][1][first + t][h], y[1]);
    }
  }
}

template <bool Trace>
LENET5_INLINE void c3_layer(const ConvolutionWeights& weights, ConvolutionScratch& scratch, float* features,
                            int32_t* choices) {
  for (int tile_row = 0; tile_row < kS4; ++tile_row) {
    transform_s2(tile_row, scratch);
    for (int h = 0; h < 16; h += kWidth) {
      if constexpr (kWidth == 16) {
        c3_products<5>(weights, 0, h, scratch);
      } else {
        c3_products<2>(weights, 0, h, scratch);
        c3_products<2>(weights, 2, h, scratch);
        c3_products<1>(weights, 4, h, scratch);
      }
      for (int t = 0; t < kS4; ++t) {
        Vector y[2][2];
        LENET5_UNROLL
        for (int x = 0; x < 2; ++x) {
          Vector m[6], column[2];
          LENET5_UNROLL
          for (int i = 0; i < 6; ++i) m[i] = load(&scratch.c3_sums[i][x][t][h]);
          transform_output(m, column);
          y[0][x] = column[0];
          y[1][x] = column[1];
        }
        const int at = (tile_row * kS4 + t) * kC3 + h;
        Vector best;
        if constexpr (Trace) best = maximum(y, choices + at);
        else best = maximum(y);
        store(features + at, larger(zero(), best + load(weights.c3_bias + h)));
      }
    }
  }
}

// s2 from its rows of even and odd columns to [position][channel], where a tap's six channels are neighbours.
inline void trace_s2(const ConvolutionScratch& scratch, ConvolutionTrace& trace) {
  for (int c = 0; c < kC1; ++c) {
    for (int y = 0; y < kS2; ++y) {
      const int at = y * kS2 * kC1 + c;
      for (int x = 0; x < kS2; ++x) {
        const int lane = (x % 2) * 8 + x / 2;
        trace.s2[at + x * kC1] = scratch.s2[c][y][lane];
        trace.s2_choice[at + x * kC1] = static_cast<uint8_t>(scratch.s2_choice[c][y][lane]);
      }
    }
  }
}

template <bool Trace>
void convolve_image(const ConvolutionWeights& weights, const void* pixels, PixelType type, int size,
                    ConvolutionScratch& scratch, float* features, ConvolutionTrace* trace) {
  if (type == PixelType::uint8) transform_pixels(static_cast<const uint8_t*>(pixels), size, scratch);
  else transform_pixels(static_cast<const float*>(pixels), size, scratch);
  const auto* c1 = type == PixelType::uint8 ? weights.c1_bytes : weights.c1_float;
  c1_layer<Trace>(c1, weights.c1_bias, scratch);
  c3_layer<Trace>(weights, scratch, features, Trace ? trace->s4_choice : nullptr);
  if constexpr (Trace) trace_s2(scratch, *trace);
}

void convolve(const ConvolutionWeights& weights, const void* pixels, PixelType type, int size,
              ConvolutionScratch& scratch, float* features, ConvolutionTrace* trace) {
  if (trace) convolve_image<true>(weights, pixels, type, size, scratch, features, trace);
  else convolve_image<false>(weights, pixels, type, size, scratch, features, nullptr);
}

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
