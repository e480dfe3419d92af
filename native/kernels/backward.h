// The backward pass of the convolutions of one image.
//
// Problem: the backward convolutions are twice the forward ones, and the answer is mostly zero: pooling lets the gradient
// through at one position in four, ReLU closes many of those. Resolution: list what is open and visit only that. One
// pooled output touches a patch of 5×5 taps × 6 channels; with s2 as [position][channel] a row of that patch is 30
// neighbouring floats.
//   weights of c3: for each output channel, sums over its open outputs, all 150 of them in registers
//   input of c3:   for each tile and each column of its window, sums over the channels open there, 6 rows of 30 in registers
//   weights of c1: for each channel, sums over its open outputs that saw more than black
#pragma once

#include "kernel_table.h"
#include "pixels.h"
#include "simd.h"

namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE {
namespace {

constexpr int kS2Row = kS2 * kC1;  // floats in a row of s2 as [position][channel]

void prepare_windows(const float* packed, WindowWeights* out) {
  for (int c = 0; c < kC1; ++c) {
    for (int t = 0; t < kTaps * kTaps; ++t) {
      const float* w = packed + Layout::c3_weight + (c * kTaps * kTaps + t) * kC3;
      for (int n = 0; n < kC3; ++n) out->c3[n][1 + t / kTaps][t % kTaps * kC1 + c] = w[n];
    }
  }
}

// Adds to `Rows` rows of taps of one output channel's gradient.
template <int Rows>
LENET5_INLINE void c3_weight_rows(const float* s2, const int32_t* places, const float* values, int count,
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
    const Vector g = all(values[i]);
    const float* patch = s2 + places[i];
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

LENET5_INLINE void c3_weight_gradient(const ConvolutionTrace& trace, const BackwardScratch& scratch, const int* counts,
                                      ConvolutionGradients& sums) {
  for (int n = 0; n < kC3; ++n) {
    const float* values = scratch.c3_values[n];
    const int32_t* places = scratch.c3_places[n];
    constexpr int rows = kWidth == 16 ? 5 : kWidth == 8 ? 3 : 1;
    int y = 0;
    for (; y + rows <= kTaps; y += rows) {
      c3_weight_rows<rows>(trace.s2 + y * kS2Row, places, values, counts[n], sums.c3[n] + y);
    }
    for (; y < kTaps; ++y) c3_weight_rows<1>(trace.s2 + y * kS2Row, places, values, counts[n], sums.c3[n] + y);
  }
}

// Adds the kernels of `count` open channels, times their gradients, to six rows of s2's gradient from `out` on. `places`
// are offsets into the weights; one row up in them is one row down in s2.
LENET5_INLINE void c3_window(const float* weights, const int32_t* places, const float* values, int count, float* out) {
  constexpr int vectors = 32 / kWidth;
  constexpr int rows = kWidth == 16 ? 6 : kWidth == 8 ? 3 : 1;
  for (int from = 0; from < 6; from += rows) {
    Vector sum[rows][vectors];
    LENET5_UNROLL
    for (int y = 0; y < rows; ++y) {
      LENET5_UNROLL
      for (int v = 0; v < vectors; ++v) sum[y][v] = zero();
    }
#pragma GCC unroll 1
    for (int i = 0; i < count; ++i) {
      const Vector g = all(values[i]);
      const float* w = weights + places[i] + from * 32;
      LENET5_UNROLL
      for (int y = 0; y < rows; ++y) {
        LENET5_UNROLL
        for (int v = 0; v < vectors; ++v) sum[y][v] = fma(g, load(w + y * 32 + v * kWidth), sum[y][v]);
      }
    }
    LENET5_UNROLL
    for (int y = 0; y < rows; ++y) {
      LENET5_UNROLL
      for (int v = 0; v < vectors; ++v) {
        float* to = out + (from + y) * kS2Row + v * kWidth;
        store(to, load(to) + sum[y][v]);
      }
    }
  }
}

// c3's gradients, channel by channel in `counts` lists for its weights, tile by tile for its input.
LENET5_INLINE void c3_backward(const WindowWeights& weights, const ConvolutionTrace& trace, const float* features,
                               const float* features_gradient, BackwardScratch& scratch, ConvolutionGradients& sums) {
  constexpr int window = (kTaps + 2) * 32;
  int counts[kC3] = {};
  Vector bias[kC3 / kWidth];
  for (int v = 0; v < kC3 / kWidth; ++v) bias[v] = load(sums.c3_bias + v * kWidth);
  for (int i = 0; i < kS2Size * kC1 + 64; i += kWidth) store(scratch.s2_gradient + i, zero());
  for (int t = 0; t < kS4Size; ++t) {
    alignas(64) float g[kC3];
    for (int v = 0; v < kC3 / kWidth; ++v) {
      const int at = t * kC3 + v * kWidth;
      const Vector open = where_positive(load(features + at), load(features_gradient + at));
      bias[v] += open;
      store(g + v * kWidth, open);
    }
    const int corner = (t / kS4 * 2 * kS2 + t % kS4 * 2) * kC1;
    alignas(64) float values[kC3 + 16];
    alignas(64) int32_t channels[kC3 + 16];
    const int count = list_nonzero(g, kC3, values, channels);
    float column_values[2][kC3];
    int32_t column_places[2][kC3];
    int in_column[2] = {0, 0};
    for (int i = 0; i < count; ++i) {
      const int n = channels[i], choice = trace.s4_choice[t * kC3 + n], row = choice >> 1, column = choice & 1;
      scratch.c3_values[n][counts[n]] = values[i];
      scratch.c3_places[n][counts[n]++] = corner + row * kS2Row + column * kC1;
      column_values[column][in_column[column]] = values[i];
      column_places[column][in_column[column]++] = n * window + (1 - row) * 32;
    }
    for (int column = 0; column < 2; ++column) {
      if (in_column[column] == 0) continue;
      c3_window(&weights.c3[0][0][0], column_places[column], column_values[column], in_column[column],
                scratch.s2_gradient + corner + column * kC1);
    }
  }
  for (int v = 0; v < kC3 / kWidth; ++v) store(sums.c3_bias + v * kWidth, bias[v]);
  c3_weight_gradient(trace, scratch, counts, sums);
}

// The image on its canvas, and for each row of pooled outputs a bit for each lane whose patch is not all black.
template <typename Pixel>
LENET5_INLINE void read_pixels(const Pixel* pixels, int size, float* canvas, uint16_t* seen) {
  const int margin = (kCanvas - size) / 2;
  uint32_t filled[kCanvas] = {};
  for (int i = 0; i < margin * kCanvas; i += kWidth) {
    store(canvas + i, zero());
    store(canvas + (kCanvas - margin) * kCanvas + i, zero());
  }
  for (int y = 0; y < size; ++y) {
    Row row;
    filled[margin + y] = read_row(pixels + y * size, size, row);
    store_row(row, canvas + (margin + y) * kCanvas);
  }
  for (int r = 0; r < kS2; ++r) {
    uint32_t columns = 0, under = 0;
    for (int y = 0; y < 6; ++y) columns |= filled[2 * r + y];
    for (int x = 0; x < 6; ++x) under |= columns >> x;
    unsigned lanes = 0;
    for (int e = 0; e < 7; ++e) lanes |= (under >> (4 * e) & 1) << e | (under >> (4 * e + 2) & 1) << (8 + e);
    seen[r] = static_cast<uint16_t>(lanes);
  }
}

// Lists one channel's open outputs that saw more than black, and adds all its open gradients to its bias.
#if defined(__AVX512F__)
// A row of s2's gradient, 84 floats [position][channel], is six vectors; lane by lane, where a channel's lie in pairs of them.
struct ChannelTable {
  alignas(64) int32_t from[kC1][16];
  uint16_t lanes[kC1][3];
};
constexpr ChannelTable channel_table() {
  ChannelTable table{};
  for (int c = 0; c < kC1; ++c) {
    for (int l = 0; l < 16; ++l) {
      const int x = l % 8 * 2 + l / 8, at = (x < kS2 ? x : 0) * kC1 + c;
      table.from[c][l] = at % 32;
      table.lanes[c][at / 32] = static_cast<uint16_t>(table.lanes[c][at / 32] | 1 << l);
    }
  }
  return table;
}
constexpr ChannelTable kChannel = channel_table();

LENET5_INLINE int c1_open(const ConvolutionTrace& trace, int c, const uint16_t* seen, BackwardScratch& scratch,
                          float* bias) {
  const __m512i from = _mm512_load_si512(kChannel.from[c]);
  const __m512i column = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 2, 6, 10, 14, 18, 22, 26, 30);
  Vector sum = zero();
  int count = 0;
  for (int y = 0; y < kS2; ++y) {
    const float* row = scratch.s2_gradient + y * kS2Row;
    Vector g = _mm512_permutex2var_ps(load(row), from, load(row + 16));
    g = _mm512_mask_mov_ps(g, kChannel.lanes[c][1], _mm512_permutex2var_ps(load(row + 32), from, load(row + 48)));
    g = _mm512_mask_mov_ps(g, kChannel.lanes[c][2], _mm512_permutex2var_ps(load(row + 64), from, load(row + 80)));
    g = _mm512_maskz_mov_ps(trace.s2_open[c][y], g);
    sum += g;
    const __mmask16 listed = _mm512_cmp_ps_mask(g, zero(), _CMP_NEQ_UQ) & seen[y];
    const __m512i choice =
        _mm512_cvtepu8_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(trace.s2_choice[c][y])));
    const __m512i below = _mm512_slli_epi32(_mm512_srli_epi32(choice, 1), 5);
    const __m512i right = _mm512_and_si512(choice, _mm512_set1_epi32(1));
    const __m512i place = _mm512_add_epi32(_mm512_add_epi32(column, _mm512_set1_epi32(2 * y * kCanvas)),
                                           _mm512_add_epi32(below, right));
    count += write_listed(listed, g, reinterpret_cast<IntVector>(place), scratch.values + count,
                          scratch.places + count);
  }
  *bias += _mm512_reduce_add_ps(sum);
  return count;
}
#else
LENET5_INLINE int c1_open(const ConvolutionTrace& trace, int c, const uint16_t* seen, BackwardScratch& scratch,
                          float* bias) {
  float sum = 0;
  int count = 0;
  for (int y = 0; y < kS2; ++y) {
    for (int lane = 0; lane < 16; ++lane) {
      if (!(trace.s2_open[c][y] >> lane & 1)) continue;
      const int x = lane % 8 * 2 + lane / 8, choice = trace.s2_choice[c][y][lane];
      const float g = scratch.s2_gradient[(y * kS2 + x) * kC1 + c];
      sum += g;
      scratch.values[count] = g;
      scratch.places[count] = (2 * y + choice / 2) * kCanvas + 2 * x + choice % 2;
      count += g != 0 && (seen[y] >> lane & 1);
    }
  }
  *bias += sum;
  return count;
}
#endif

// Eight lanes, of which a row of taps needs five.
#if defined(__AVX512F__) || defined(__AVX2__)
struct Eight {
  __m256 v;
  LENET5_INLINE static Eight of(const float* p) { return {_mm256_loadu_ps(p)}; }
  LENET5_INLINE void add(float g, const float* p) { v = _mm256_fmadd_ps(_mm256_set1_ps(g), _mm256_loadu_ps(p), v); }
  LENET5_INLINE void put(float* p) const { _mm256_storeu_ps(p, v); }
};
#else
struct Eight {
  Vector low, high;
  LENET5_INLINE static Eight of(const float* p) { return {load(p), load(p + 4)}; }
  LENET5_INLINE void add(float g, const float* p) {
    low = fma(all(g), load(p), low);
    high = fma(all(g), load(p + 4), high);
  }
  LENET5_INLINE void put(float* p) const {
    store(p, low);
    store(p + 4, high);
  }
};
#endif

LENET5_INLINE void c1_weight_gradient(const ConvolutionTrace& trace, const uint16_t* seen, BackwardScratch& scratch,
                                      ConvolutionGradients& sums) {
  for (int c = 0; c < kC1; ++c) {
    const int count = c1_open(trace, c, seen, scratch, &sums.c1_bias[c]);
    // Two patches at a time are summed independently; a gradient of zero makes the count even.
    scratch.values[count] = 0;
    scratch.places[count] = 0;
    Eight sum[2][kTaps];
    const float none[8] = {};
    LENET5_UNROLL
    for (int y = 0; y < kTaps; ++y) {
      sum[0][y] = Eight::of(sums.c1[c][y]);
      sum[1][y] = Eight::of(none);
    }
#pragma GCC unroll 1
    for (int i = 0; i < count; i += 2) {
      LENET5_UNROLL
      for (int k = 0; k < 2; ++k) {
        const float* patch = scratch.pixels + scratch.places[i + k];
        LENET5_UNROLL
        for (int y = 0; y < kTaps; ++y) sum[k][y].add(scratch.values[i + k], patch + y * kCanvas);
      }
    }
    LENET5_UNROLL
    for (int y = 0; y < kTaps; ++y) {
      alignas(32) float second[8];
      sum[1][y].put(second);
      sum[0][y].add(1, second);
      sum[0][y].put(sums.c1[c][y]);
    }
  }
}

void convolve_backward(const WindowWeights& weights, const void* pixels, PixelType type, int size,
                       const ConvolutionTrace& trace, const float* features, const float* features_gradient,
                       BackwardScratch& scratch, ConvolutionGradients& sums) {
  c3_backward(weights, trace, features, features_gradient, scratch, sums);
  uint16_t seen[kS2];
  if (type == PixelType::uint8) read_pixels(static_cast<const uint8_t*>(pixels), size, scratch.pixels, seen);
  else read_pixels(static_cast<const float*>(pixels), size, scratch.pixels, seen);
  c1_weight_gradient(trace, seen, scratch, sums);
}

}  // namespace
}  // namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE
