// The forward convolutions of one image: pixels → c1, ReLU, s2 → c3, ReLU, s4.
//
// Only pooled values are ever written: bias and ReLU commute with the maximum, so they are applied to one value in
// four. c1 has vectors along a row of the image (one dimension of Winograd's filtering, the other direct: with one
// input channel the second transform would cost what it saves); c3 has vectors over its 16 output channels and both
// dimensions.
#pragma once

#include "kernel_table.h"
#include "pixels.h"
#include "winograd.h"

namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE {
namespace {

struct Rows {
  uint32_t filled;  // a bit for each row of the canvas that is not all black
  bool finite;      // no pixel is NaN or infinite
};

template <typename Pixel>
LENET5_INLINE Rows transform_pixels(const Pixel* pixels, int size, ConvolutionScratch& scratch) {
  const int margin = (kCanvas - size) / 2;
  uint32_t filled = 0;
  Vector nothing = zero();
  for (int y = 0; y < size; ++y) {
    Row row;
    if (!read_row(pixels + y * size, size, row)) continue;
    filled |= uint32_t{1} << (y + margin);
    if constexpr (sizeof(Pixel) > 1) nothing = add_nothing(row, nothing);
    Vector d[6 * 16 / kWidth], v[6];
    spread_row(row, d);
    LENET5_UNROLL
    for (int h = 0; h < 16 / kWidth; ++h) {
      transform_input(d + h * 6, v);
      LENET5_UNROLL
      for (int k = 0; k < 6; ++k) store(&scratch.c1_input[y + margin][k][h * kWidth], v[k]);
    }
  }
  return {filled, equal_lanes(nothing, zero()) == equal_lanes(zero(), zero())};
}

// The maximum of a 2×2 window in scan order, and which it was: the first one on a tie, as PyTorch takes it.
LENET5_INLINE Vector maximum(const Vector (*y)[2]) {
  return larger(larger(y[0][0], y[0][1]), larger(y[1][0], y[1][1]));
}
LENET5_INLINE Vector maximum(const Vector (*y)[2], IntVector* choice) {
  Vector best = y[0][0];
  IntVector index{};
  LENET5_UNROLL
  for (int k = 1; k < 4; ++k) {
    const Vector candidate = y[k / 2][k % 2];
    const IntVector better = candidate > best;
    index = choose(better, IntVector{} + k, index);
    best = choose(better, candidate, best);
  }
  *choice = index;
  return best;
}

template <bool Trace>
LENET5_INLINE void c1_store(int channel, int r, int h, Vector best, IntVector choice, ConvolutionScratch& scratch,
                            ConvolutionTrace* trace) {
  store(&scratch.s2[channel][r][h], larger(zero(), best));
  if constexpr (Trace) {
    store_bytes(&trace->s2_choice[channel][r][h], choice);
    const unsigned open = positive_lanes(best) << h & 0x7f7f;
    trace->s2_open[channel][r] = static_cast<uint16_t>(h ? trace->s2_open[channel][r] | open : open);
  }
}

// One pooled row of `Channels` channels of c1, kWidth pooled columns from lane h on. `filled`: which of the six rows of
// pixels below it are not all black; the others are skipped, a third of the rows of a typical digit.
template <int Channels, bool Trace>
LENET5_INLINE void c1_row(const float (*weights)[kTaps][6], const float* bias, int channel, int r, int h,
                          uint32_t filled, ConvolutionScratch& scratch, ConvolutionTrace* trace) {
  Vector sum[Channels][2][6];
  LENET5_UNROLL
  for (int c = 0; c < Channels; ++c) {
    LENET5_UNROLL
    for (int k = 0; k < 6; ++k) sum[c][0][k] = sum[c][1][k] = zero();
  }
  LENET5_UNROLL
  for (int row = 0; row < 6; ++row) {
    if (!(filled >> row & 1)) continue;
    LENET5_UNROLL
    for (int k = 0; k < 6; ++k) {
      const Vector v = load(&scratch.c1_input[2 * r + row][k][h]);
      LENET5_UNROLL
      for (int c = 0; c < Channels; ++c) {
        if (row < kTaps) sum[c][0][k] = fma(v, all(weights[channel + c][row][k]), sum[c][0][k]);
        if (row > 0) sum[c][1][k] = fma(v, all(weights[channel + c][row - 1][k]), sum[c][1][k]);
      }
    }
  }
  LENET5_UNROLL
  for (int c = 0; c < Channels; ++c) {
    Vector y[2][2];
    transform_output(sum[c][0], y[0]);
    transform_output(sum[c][1], y[1]);
    IntVector choice{};
    const Vector best = (Trace ? maximum(y, &choice) : maximum(y)) + all(bias[channel + c]);
    c1_store<Trace>(channel + c, r, h, best, choice, scratch, trace);
  }
}

template <bool Trace>
LENET5_INLINE void c1_layer(const float (*weights)[kTaps][6], const float* bias, uint32_t filled,
                            ConvolutionScratch& scratch, ConvolutionTrace* trace) {
  constexpr int channels = kManyRegisters ? 2 : 1;
  for (int r = 0; r < kS2; ++r) {
    const uint32_t rows = filled >> (2 * r) & 63;
    if (rows == 0) {
      for (int c = 0; c < kC1; ++c) {
        for (int h = 0; h < 16; h += kWidth) {
          c1_store<Trace>(c, r, h, all(bias[c]), IntVector{}, scratch, trace);
        }
      }
      continue;
    }
    for (int h = 0; h < 16; h += kWidth) {
      for (int c = 0; c < kC1; c += channels) {
        c1_row<channels, Trace>(weights, bias, c, r, h, rows, scratch, trace);
      }
    }
  }
}

// c3's input reaches Winograd's domain in two passes: down the columns of s2 for one channel under a row of tiles …
LENET5_INLINE void c3_vertical(int tile_row, int channel, ConvolutionScratch& scratch) {
  for (int h = 0; h < 16; h += kWidth) {
    Vector d[6], v[6];
    LENET5_UNROLL
    for (int i = 0; i < 6; ++i) d[i] = load(&scratch.s2[channel][2 * tile_row + i][h]);
    transform_input(d, v);
    LENET5_UNROLL
    for (int i = 0; i < 6; ++i) store(&scratch.c3_rows[tile_row % 2][channel][i][h], v[i]);
  }
}

// … and along its rows for one row point. Tile t sees columns 2t … 2t + 5: the even lanes t, t + 1 and t + 2, and the
// odd ones. A channel has eight lanes, so that wide vectors take two channels at a time.
LENET5_INLINE void c3_horizontal(int tile_row, int i, int channel, ConvolutionScratch& scratch) {
  for (int c = channel; c < channel + 2; c += kWidth == 16 ? 2 : 1) {
    const float* rows = scratch.c3_rows[tile_row % 2][c][i];
    for (int h = 0; h < 8; h += kWidth) {
      Vector d[6], v[6];
      LENET5_UNROLL
      for (int k = 0; k < 6; ++k) {
        const float* from = rows + (k % 2) * 8 + k / 2 + h;
#if defined(__AVX512F__)
        const float* other = from + 6 * 16;
        d[k] = _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(from)), _mm256_loadu_ps(other), 1);
#else
        d[k] = load(from);
#endif
      }
      transform_input(d, v);
      LENET5_UNROLL
      for (int k = 0; k < 6; ++k) store(&scratch.c3_input[i][k][c][h], v[k]);
    }
  }
}

// Adds the products of two column points, a and b, at one row point: sums of five tiles each.
LENET5_INLINE void c3_products(const ConvolutionWeights& weights, int i, int a, int b, int h,
                               const ConvolutionScratch& scratch, Vector* sum_a, Vector* sum_b) {
#pragma GCC unroll 1
  for (int c = 0; c < kC1; ++c) {
    const Vector u = load(&weights.c3[i][c][a][h]), w = load(&weights.c3[i][c][b][h]);
    LENET5_UNROLL
    for (int t = 0; t < kS4; ++t) sum_a[t] = fma(u, all(scratch.c3_input[i][a][c][t]), sum_a[t]);
    LENET5_UNROLL
    for (int t = 0; t < kS4; ++t) sum_b[t] = fma(w, all(scratch.c3_input[i][b][c][t]), sum_b[t]);
  }
}

// The pooled features of one tile, from the sums of its six row points.
template <bool Trace>
LENET5_INLINE void c3_output(const ConvolutionWeights& weights, int tile_row, int t, const ConvolutionScratch& scratch,
                             float* features, int32_t* choices) {
  for (int h = 0; h < 16; h += kWidth) {
    Vector y[2][2];
    LENET5_UNROLL
    for (int x = 0; x < 2; ++x) {
      Vector m[6], column[2];
      LENET5_UNROLL
      for (int i = 0; i < 6; ++i) m[i] = load(&scratch.c3_sums[tile_row % 2][i][x][t][h]);
      transform_output(m, column);
      y[0][x] = column[0];
      y[1][x] = column[1];
    }
    const int at = (tile_row * kS4 + t) * kC3 + h;
    IntVector choice{};
    const Vector best = Trace ? maximum(y, &choice) : maximum(y);
    if constexpr (Trace) store(choices + at, choice);
    store(features + at, larger(zero(), best + load(weights.c3_bias + h)));
  }
}

// The transforms are adds, loads and stores and the products multiply-adds, which a processor can do at the same time,
// but only where it finds them within the hundred or so operations it looks ahead: so the transforms of what comes next
// and the output of what came before stand between groups of sixty products.
template <bool Trace>
LENET5_INLINE void c3_layer(const ConvolutionWeights& weights, ConvolutionScratch& scratch, float* features,
                            int32_t* choices) {
  for (int c = 0; c < kC1; ++c) c3_vertical(0, c, scratch);
  for (int c = 0; c < kC1; c += 2) c3_horizontal(0, 0, c, scratch);
  for (int tile_row = 0; tile_row < kS4; ++tile_row) {
    for (int i = 0; i < 6; ++i) {
      const bool more_rows = tile_row + 1 < kS4, more = i < 5 || more_rows;
      const int next_row = i < 5 ? tile_row : tile_row + 1, next = i < 5 ? i + 1 : 0;
      for (int h = 0; h < 16; h += kWidth) {
        // The order of the column points is that of winograd.h's transform_output, spread over the three groups.
        Vector y[2][kS4], m[2][kS4];
        LENET5_UNROLL
        for (int t = 0; t < kS4; ++t) m[0][t] = m[1][t] = zero();
        c3_products(weights, i, 1, 2, h, scratch, m[0], m[1]);
        LENET5_UNROLL
        for (int t = 0; t < kS4; ++t) {
          y[0][t] = m[0][t] + m[1][t];
          y[1][t] = all(kRootHalf) * (m[0][t] - m[1][t]);
        }
        if (h == 0 && more) c3_horizontal(next_row, next, 0, scratch);
        LENET5_UNROLL
        for (int t = 0; t < kS4; ++t) m[0][t] = m[1][t] = zero();
        c3_products(weights, i, 3, 4, h, scratch, m[0], m[1]);
        LENET5_UNROLL
        for (int t = 0; t < kS4; ++t) {
          y[0][t] += m[0][t] + m[1][t];
          y[1][t] = fma(all(kRootTwo), m[0][t] - m[1][t], y[1][t]);
        }
        if (h == 0 && more) c3_horizontal(next_row, next, 2, scratch);
        if (h == 0 && more_rows && i < 5) c3_vertical(tile_row + 1, i, scratch);
        c3_products(weights, i, 0, 5, h, scratch, y[0], y[1]);
        LENET5_UNROLL
        for (int t = 0; t < kS4; ++t) {
          store(&scratch.c3_sums[tile_row % 2][i][0][t][h], y[0][t]);
          store(&scratch.c3_sums[tile_row % 2][i][1][t][h], y[1][t]);
        }
        if (h == 0 && more) c3_horizontal(next_row, next, 4, scratch);
        if (h == 0 && more_rows && i == 0) c3_vertical(tile_row + 1, 5, scratch);
      }
      if (tile_row > 0 && i < kS4) c3_output<Trace>(weights, tile_row - 1, i, scratch, features, choices);
    }
  }
  for (int t = 0; t < kS4; ++t) c3_output<Trace>(weights, kS4 - 1, t, scratch, features, choices);
}

// s2 from its rows of even and odd columns to [position][channel], where a tap's six channels are neighbours.
#if defined(__AVX512F__)
// The row of 84 floats is six vectors; each takes its lanes from the three pairs of channels in turn.
struct InterleaveTable {
  alignas(64) int32_t from[6][3][16];
  uint16_t lanes[6][3];
};
constexpr InterleaveTable interleave_table() {
  InterleaveTable table{};
  for (int z = 0; z < 6; ++z) {
    for (int l = 0; l < 16; ++l) {
      const int channel = (16 * z + l) % kC1, x = (16 * z + l) / kC1;
      table.from[z][channel / 2][l] = channel % 2 * 16 + x % 2 * 8 + x / 2 % 8;
      table.lanes[z][channel / 2] = static_cast<uint16_t>(table.lanes[z][channel / 2] | 1 << l);
    }
  }
  return table;
}
constexpr InterleaveTable kInterleave = interleave_table();

inline void trace_s2(const ConvolutionScratch& scratch, ConvolutionTrace& trace) {
  for (int y = 0; y < kS2; ++y) {
    LENET5_UNROLL
    for (int z = 0; z < 6; ++z) {
      __m512 row = _mm512_setzero_ps();
      LENET5_UNROLL
      for (int p = 0; p < 3; ++p) {
        const __m512 pair = _mm512_permutex2var_ps(
            load(scratch.s2[2 * p][y]), _mm512_load_si512(kInterleave.from[z][p]), load(scratch.s2[2 * p + 1][y]));
        row = _mm512_mask_mov_ps(row, kInterleave.lanes[z][p], pair);
      }
      store(trace.s2 + y * kS2 * kC1 + z * 16, row);  // the last one's end is overwritten by the next row
    }
  }
}
#else
inline void trace_s2(const ConvolutionScratch& scratch, ConvolutionTrace& trace) {
  for (int c = 0; c < kC1; ++c) {
    for (int y = 0; y < kS2; ++y) {
      for (int x = 0; x < kS2; ++x) {
        trace.s2[(y * kS2 + x) * kC1 + c] = scratch.s2[c][y][(x % 2) * 8 + x / 2];
      }
    }
  }
}
#endif

template <bool Trace>
bool convolve_image(const ConvolutionWeights& weights, const void* pixels, PixelType type, int size,
                    ConvolutionScratch& scratch, float* features, ConvolutionTrace* trace) {
  const bool bytes = type == PixelType::uint8;
  const Rows rows = bytes ? transform_pixels(static_cast<const uint8_t*>(pixels), size, scratch)
                          : transform_pixels(static_cast<const float*>(pixels), size, scratch);
  c1_layer<Trace>(bytes ? weights.c1_bytes : weights.c1_float, weights.c1_bias, rows.filled, scratch, trace);
  c3_layer<Trace>(weights, scratch, features, Trace ? trace->s4_choice : nullptr);
  if constexpr (Trace) trace_s2(scratch, *trace);
  return rows.finite;
}

bool convolve(const ConvolutionWeights& weights, const void* pixels, PixelType type, int size,
              ConvolutionScratch& scratch, float* features, ConvolutionTrace* trace) {
  return trace ? convolve_image<true>(weights, pixels, type, size, scratch, features, trace)
               : convolve_image<false>(weights, pixels, type, size, scratch, features, nullptr);
}

}  // namespace
}  // namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE
