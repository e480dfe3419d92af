// The backward pass of c1; see backward.h.
#pragma once

#include "backward_c3.h"
#include "pixels.h"
#include "simd.h"

namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE {
namespace {

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
// A row of s2's gradient, 84 floats [position][channel], is six vectors; lane by lane, where a channel's lie in pairs
// of them.
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
    const __m512i place =
        _mm512_add_epi32(_mm512_add_epi32(column, _mm512_set1_epi32(2 * y * kCanvas)), _mm512_add_epi32(below, right));
    count +=
        write_listed(listed, g, reinterpret_cast<IntVector>(place), scratch.values + count, scratch.places + count);
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

}  // namespace
}  // namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE
