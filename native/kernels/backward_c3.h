// The backward pass of c3; see backward.h.
#pragma once

#include "kernel_table.h"
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

// The kernels of `count` open channels, times their gradients, over `Rows` rows of a window. `places` are offsets into
// the weights: one row up in them is one row down in the window.
template <int Rows>
LENET5_INLINE void c3_window_sums(const float* weights, const int32_t* places, const float* values, int count,
                                  Vector (*sum)[32 / kWidth]) {
  LENET5_UNROLL
  for (int y = 0; y < Rows; ++y) {
    LENET5_UNROLL
    for (int v = 0; v < 32 / kWidth; ++v) sum[y][v] = zero();
  }
#pragma GCC unroll 1
  for (int i = 0; i < count; ++i) {
    const Vector g = all(values[i]);
    const float* w = weights + places[i];
    LENET5_UNROLL
    for (int y = 0; y < Rows; ++y) {
      LENET5_UNROLL
      for (int v = 0; v < 32 / kWidth; ++v) sum[y][v] = fma(g, load(w + y * 32 + v * kWidth), sum[y][v]);
    }
  }
}

// Adds a tile's window of six rows to s2's gradient from `out` on. The first `left` channels listed take the left
// column of their pooling window, the others the right one, which is six floats on.
LENET5_INLINE void c3_window(const float* weights, const int32_t* places, const float* values, int left, int count,
                             float* out) {
#if defined(__AVX512F__)
  // Both columns' sums are put together in registers: the map's rows lie across cache lines and are slow to add to.
  Vector a[6][2], b[6][2];
  c3_window_sums<6>(weights, places, values, left, a);
  c3_window_sums<6>(weights, places + left, values + left, count - left, b);
  const __m512i none = _mm512_setzero_si512();
  LENET5_UNROLL
  for (int y = 0; y < 6; ++y) {
    const __m512i low = _mm512_castps_si512(b[y][0]), high = _mm512_castps_si512(b[y][1]);
    float* row = out + y * kS2Row;
    const __m128 end = _mm_castsi128_ps(_mm512_castsi512_si128(_mm512_alignr_epi32(none, high, 10)));
    store(row, load(row) + (a[y][0] + _mm512_castsi512_ps(_mm512_alignr_epi32(low, none, 10))));
    store(row + 16, load(row + 16) + (a[y][1] + _mm512_castsi512_ps(_mm512_alignr_epi32(high, low, 10))));
    _mm_storeu_ps(row + 32, _mm_add_ps(_mm_loadu_ps(row + 32), end));
  }
#else
  constexpr int rows = kWidth == 8 ? 3 : 1;
  for (int column = 0; column < 2; ++column) {
    const int from = column ? left : 0, to = column ? count : left;
    if (from == to) continue;
    for (int y = 0; y < 6; y += rows) {
      Vector sum[rows][32 / kWidth];
      c3_window_sums<rows>(weights + y * 32, places + from, values + from, to - from, sum);
      for (int i = 0; i < rows; ++i) {
        for (int v = 0; v < 32 / kWidth; ++v) {
          float* at = out + (y + i) * kS2Row + column * kC1 + v * kWidth;
          store(at, load(at) + sum[i][v]);
        }
      }
    }
  }
#endif
}

constexpr int kKernelSize = (kTaps + 2) * 32;  // floats of one output channel in WindowWeights

#if defined(__AVX512F__)
// Everything in vectors of 16 channels: a tile's channels are listed as they come, a channel's tiles after a
// transposition.
struct OpenLists {
  // One list for all tiles; a tile's left and right columns of the pooling window apart.
  alignas(64) float values[kFeatures + 32];
  alignas(64) int32_t kernels[kFeatures + 32];  // where each one's kernel begins in the weights
  int ends[kS4Size][2];
  alignas(64) float gradients[32][kC3] = {};  // [tile][channel], zero from the 25th tile on
  alignas(64) float places[32][kC3] = {};     // where each one's patch begins in s2; integers
  alignas(64) float by_channel[kC3][32];
  alignas(64) float places_by_channel[kC3][32];

  LENET5_INLINE int add_tile(const ConvolutionTrace& trace, int t, int corner, const Vector* open, int count,
                             BackwardScratch&) {
    const __m512i choice = _mm512_load_si512(trace.s4_choice + t * kC3);
    const __m512i row = _mm512_srli_epi32(choice, 1), column = _mm512_and_si512(choice, _mm512_set1_epi32(1));
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i kernel = _mm512_sub_epi32(
        _mm512_add_epi32(_mm512_mullo_epi32(lane, _mm512_set1_epi32(kKernelSize)), _mm512_set1_epi32(32)),
        _mm512_slli_epi32(row, 5));
    const __mmask16 listed = _mm512_cmp_ps_mask(open[0], zero(), _CMP_NEQ_UQ);
    const __mmask16 right = _mm512_test_epi32_mask(column, column);
    const IntVector place = reinterpret_cast<IntVector>(kernel);
    count += write_listed(static_cast<__mmask16>(listed & ~right), open[0], place, values + count, kernels + count);
    ends[t][0] = count;
    count += write_listed(listed & right, open[0], place, values + count, kernels + count);
    ends[t][1] = count;
    store(gradients[t], open[0]);
    const __m512i patch = _mm512_add_epi32(_mm512_set1_epi32(corner),
                                           _mm512_add_epi32(_mm512_mullo_epi32(row, _mm512_set1_epi32(kS2Row)),
                                                            _mm512_mullo_epi32(column, _mm512_set1_epi32(kC1))));
    _mm512_store_si512(places[t], patch);
    return count;
  }

  LENET5_INLINE void finish() {
    for (int half = 0; half < 32; half += 16) {
      transpose_block(gradients[half], kC3, &by_channel[0][half], 32);
      transpose_block(places[half], kC3, &places_by_channel[0][half], 32);
    }
  }

  LENET5_INLINE int channel(int n, BackwardScratch& scratch) const {
    int count = 0;
    for (int half = 0; half < 32; half += 16) {
      const Vector g = load(&by_channel[n][half]);
      const IntVector place = reinterpret_cast<IntVector>(load(&places_by_channel[n][half]));
      count += write_listed(_mm512_cmp_ps_mask(g, zero(), _CMP_NEQ_UQ), g, place, scratch.c3_values[n] + count,
                            scratch.c3_places[n] + count);
    }
    return count;
  }
};
#else
struct OpenLists {
  float values[kFeatures];
  int32_t kernels[kFeatures];
  int ends[kS4Size][2];
  int counts[kC3] = {};

  LENET5_INLINE int add_tile(const ConvolutionTrace& trace, int t, int corner, const Vector* open, int count,
                             BackwardScratch& scratch) {
    for (int column = 0; column < 2; ++column) {
      for (int n = 0; n < kC3; ++n) {
        const float g = open[n / kWidth][n % kWidth];
        const int choice = trace.s4_choice[t * kC3 + n], row = choice >> 1;
        if (g == 0 || (choice & 1) != column) continue;
        values[count] = g;
        kernels[count++] = n * kKernelSize + (1 - row) * 32;
        scratch.c3_values[n][counts[n]] = g;
        scratch.c3_places[n][counts[n]++] = corner + row * kS2Row + column * kC1;
      }
      ends[t][column] = count;
    }
    return count;
  }
  LENET5_INLINE void finish() {}
  LENET5_INLINE int channel(int n, BackwardScratch&) const { return counts[n]; }
};
#endif

// c3's gradients: tile by tile for its input, then channel by channel for its weights.
LENET5_INLINE void c3_backward(const WindowWeights& weights, const ConvolutionTrace& trace, const float* features,
                               const float* features_gradient, BackwardScratch& scratch, ConvolutionGradients& sums) {
  constexpr int vectors = kC3 / kWidth;
  OpenLists lists;
  Vector bias[vectors];
  for (int v = 0; v < vectors; ++v) bias[v] = load(sums.c3_bias + v * kWidth);
  for (int i = 0; i < kS2Size * kC1 + 64; i += kWidth) store(scratch.s2_gradient + i, zero());
  int count = 0;
  const auto corner = [](int t) { return (t / kS4 * 2 * kS2 + t % kS4 * 2) * kC1; };
  for (int t = 0; t < kS4Size; ++t) {
    Vector open[vectors];
    for (int v = 0; v < vectors; ++v) {
      const int at = t * kC3 + v * kWidth;
      open[v] = where_positive(load(features + at), load(features_gradient + at));
      bias[v] += open[v];
    }
    count = lists.add_tile(trace, t, corner(t), open, count, scratch);
  }
  lists.finish();
  int from = 0;
  for (int t = 0; t < kS4Size; ++t) {
    const int to = lists.ends[t][1];
    if (from == to) continue;
    c3_window(&weights.c3[0][0][0], lists.kernels + from, lists.values + from, lists.ends[t][0] - from, to - from,
              scratch.s2_gradient + corner(t));
    from = to;
  }
  for (int v = 0; v < vectors; ++v) store(sums.c3_bias + v * kWidth, bias[v]);
  for (int n = 0; n < kC3; ++n) {
    const int open = lists.channel(n, scratch);
    constexpr int rows = kWidth == 16 ? 5 : kWidth == 8 ? 3 : 1;
    int y = 0;
    for (; y + rows <= kTaps; y += rows) {
      c3_weight_rows<rows>(trace.s2 + y * kS2Row, scratch.c3_places[n], scratch.c3_values[n], open, sums.c3[n] + y);
    }
    for (; y < kTaps; ++y) {
      c3_weight_rows<1>(trace.s2 + y * kS2Row, scratch.c3_places[n], scratch.c3_values[n], open, sums.c3[n] + y);
    }
  }
}

}  // namespace
}  // namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE
