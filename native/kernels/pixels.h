// Rows of pixels, bytes or floats, 28 or 32 wide, as the convolutions read them.
#pragma once

#include "kernel_table.h"
#include "simd.h"

namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE {
namespace {

// A row of the canvas, its margin zero.
struct Row {
#if defined(__AVX512F__)
  __m512 low, high;
#else
  alignas(64) float pixels[48];
#endif
};

// Reads a row and returns a bit for each column of the canvas that is not black.
#if defined(__AVX512F__)
// The margin's lanes are masked out of the load: they come out as zero, and nothing outside the row is touched.
LENET5_INLINE uint32_t read_row(const uint8_t* pixels, int size, Row& row) {
  const int margin = (kCanvas - size) / 2;
  const __mmask32 inside = (0xffffffffu >> (kCanvas - size)) << margin;
  const __m256i bytes = _mm256_maskz_loadu_epi8(inside, pixels - margin);
  row.low = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm256_castsi256_si128(bytes)));
  row.high = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm256_extracti128_si256(bytes, 1)));
  return _mm256_test_epi8_mask(bytes, bytes);
}
LENET5_INLINE uint32_t read_row(const float* pixels, int size, Row& row) {
  const int margin = (kCanvas - size) / 2;
  const unsigned inside = (0xffffffffu >> (kCanvas - size)) << margin;
  row.low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(inside), pixels - margin);
  row.high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(inside >> 16), pixels - margin + 16);
  return _mm512_cmp_ps_mask(row.low, _mm512_setzero_ps(), _CMP_NEQ_UQ) |
         static_cast<uint32_t>(_mm512_cmp_ps_mask(row.high, _mm512_setzero_ps(), _CMP_NEQ_UQ)) << 16;
}
#else
// Sizes are 28 or 32: copied as two overlapping halves, so that every copy has a constant length.
template <typename Pixel>
LENET5_INLINE void copy_row(const Pixel* pixels, int size, Pixel* canvas) {
  Pixel* out = canvas + (kCanvas - size) / 2;
  __builtin_memcpy(out, pixels, 16 * sizeof(Pixel));
  __builtin_memcpy(out + size - 16, pixels + size - 16, 16 * sizeof(Pixel));
}
LENET5_INLINE uint32_t read_row(const uint8_t* pixels, int size, Row& row) {
  alignas(32) uint8_t canvas[kCanvas] = {};
  copy_row(pixels, size, canvas);
  for (int i = 0; i < kCanvas; ++i) row.pixels[i] = static_cast<float>(canvas[i]);
  for (int i = kCanvas; i < 48; ++i) row.pixels[i] = 0;
#if defined(__SSE2__)
  const __m128i black = _mm_setzero_si128();
  const __m128i low = _mm_load_si128(reinterpret_cast<const __m128i*>(canvas));
  const __m128i high = _mm_load_si128(reinterpret_cast<const __m128i*>(canvas + 16));
  return ~(static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(low, black))) |
           static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(high, black))) << 16);
#else
  uint32_t filled = 0;
  for (int i = 0; i < kCanvas; ++i) filled |= static_cast<uint32_t>(canvas[i] != 0) << i;
  return filled;
#endif
}
LENET5_INLINE uint32_t read_row(const float* pixels, int size, Row& row) {
  for (int i = 0; i < 48; ++i) row.pixels[i] = 0;
  copy_row(pixels, size, row.pixels);
  uint32_t filled = 0;
  for (int i = 0; i < kCanvas; ++i) filled |= static_cast<uint32_t>(row.pixels[i] != 0) << i;
  return filled;
}
#endif

// Adds 0 × each pixel of a row: a lane is no number any more once a pixel was NaN or infinite.
LENET5_INLINE Vector add_nothing(const Row& row, Vector sum) {
#if defined(__AVX512F__)
  return fma(row.low, zero(), fma(row.high, zero(), sum));
#else
  for (int i = 0; i < kCanvas; i += kWidth) sum = fma(load(row.pixels + i), zero(), sum);
  return sum;
#endif
}

// Lane e < 7 of d[m] becomes the m-th pixel under the pooled column 2e, lane 8 + e that under the pooled column 2e + 1.
// Lanes 7 and 15 hold nothing of use. Where 16 lanes take several vectors, those of one m are six apart.
LENET5_INLINE void spread_row(const Row& row, Vector* d) {
#if defined(__AVX512F__)
  const __m512i lane = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 2, 6, 10, 14, 18, 22, 26, 30);
  LENET5_UNROLL
  for (int m = 0; m < 6; ++m) {
    d[m] = _mm512_permutex2var_ps(row.low, _mm512_add_epi32(lane, _mm512_set1_epi32(m)), row.high);
  }
#elif defined(__AVX2__)
  // Every fourth pixel, from 0, 1, 2 and 3 on: a transposition of 4×4 blocks.
  const auto both = [&](int i) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_load_ps(row.pixels + i)), _mm_load_ps(row.pixels + i + 16),
                                1);
  };
  const __m256 a = both(0), b = both(4), c = both(8), e = both(12);
  const __m256 ab_low = _mm256_unpacklo_ps(a, b), ab_high = _mm256_unpackhi_ps(a, b);
  const __m256 ce_low = _mm256_unpacklo_ps(c, e), ce_high = _mm256_unpackhi_ps(c, e);
  const __m256 every[4] = {_mm256_shuffle_ps(ab_low, ce_low, 0x44), _mm256_shuffle_ps(ab_low, ce_low, 0xee),
                           _mm256_shuffle_ps(ab_high, ce_high, 0x44), _mm256_shuffle_ps(ab_high, ce_high, 0xee)};
  const __m256i one_on = _mm256_setr_epi32(1, 2, 3, 4, 5, 6, 7, 7);
  LENET5_UNROLL
  for (int m = 0; m < 4; ++m) {
    const __m256 next = _mm256_permutevar8x32_ps(every[m], one_on);
    d[m] = every[m];
    if (m < 2) d[4 + m] = next;
    if (m >= 2) d[6 + m - 2] = every[m];
    d[6 + m + 2] = next;
  }
#else
  alignas(64) float lanes[6][16];
  for (int m = 0; m < 6; ++m) {
    for (int e = 0; e < 8; ++e) {
      lanes[m][e] = row.pixels[4 * e + m];
      lanes[m][8 + e] = row.pixels[4 * e + 2 + m];
    }
  }
  for (int m = 0; m < 6; ++m) {
    for (int v = 0; v < 16 / kWidth; ++v) d[v * 6 + m] = load(&lanes[m][v * kWidth]);
  }
#endif
}

LENET5_INLINE void store_row(const Row& row, float* out) {
#if defined(__AVX512F__)
  store(out, row.low);
  store(out + 16, row.high);
#else
  for (int i = 0; i < kCanvas; i += kWidth) store(out + i, load(row.pixels + i));
#endif
}

}  // namespace
}  // namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE
