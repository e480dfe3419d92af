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

// The maximum of a 2×2 window whose outputs come as transform_output leaves them: the second column times √2 and, where
// `Rows` says so, the second row too. Rounding keeps the order, so that it may be taken before the factor.
template <bool Rows>
LENET5_INLINE Vector maximum(const Vector (*y)[2]) {
  if constexpr (Rows) {
    return larger(larger(y[0][0], all(0.5f) * y[1][1]), all(kRootHalf) * larger(y[0][1], y[1][0]));
  } else {
    return larger(larger(y[0][0], y[1][0]), all(kRootHalf) * larger(y[0][1], y[1][1]));
  }
}
// And which it was, in scan order: the first one on a tie, as PyTorch takes it.
template <bool Rows>
LENET5_INLINE Vector maximum(const Vector (*y)[2], IntVector* choice) {
  Vector best = y[0][0];
  IntVector index{};
  LENET5_UNROLL
  for (int k = 1; k < 4; ++k) {
    const bool row = Rows && k / 2, column = k % 2;
    const Vector candidate = row || column ? all(row && column ? 0.5f : kRootHalf) * y[k / 2][k % 2] : y[k / 2][k % 2];
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
    const Vector best = (Trace ? maximum<false>(y, &choice) : maximum<false>(y)) + all(bias[channel + c]);
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
//
// In six steps, which c3_products takes between its own.
class Horizontal {
 public:
  LENET5_INLINE Horizontal(const float (*rows)[6][16], int i, float (*input)[kC1][8], int channel)
      : rows_(rows[channel][i]), input_(input), channel_(channel) {}

#if defined(__AVX512F__)
  LENET5_INLINE void step(int s) {
    if (s == 0 || s == 2) {
      const int first = s / 2;
      for (int k = 0; k < 3; ++k) d_[k] = read(first + 2 * k);
    } else if (s == 1) {
      write(0, transform_.even(d_[0], d_[1], d_[2]));
    } else if (s == 3) {
      write(5, transform_.odd(d_[0], d_[1], d_[2]));
    } else {
      Vector v[4];
      transform_.both(v);
      const int first = s == 4 ? 0 : 2;
      for (int k = first; k < first + 2; ++k) write(1 + k, v[k]);
    }
  }

 private:
  LENET5_INLINE Vector read(int k) const {
    const float* from = rows_ + k % 2 * 8 + k / 2;
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(from)), _mm256_loadu_ps(from + 6 * 16), 1);
  }
  LENET5_INLINE void write(int k, Vector v) { store(input_[k][channel_], v); }

  InputTransform transform_;
  Vector d_[3];
#else
  // Narrow vectors come with few registers: all at once.
  LENET5_INLINE void step(int s) {
    if (s != 5) return;
    for (int c = 0; c < 2; ++c) {
      for (int h = 0; h < 8; h += kWidth) {
        Vector d[6], v[6];
        LENET5_UNROLL
        for (int k = 0; k < 6; ++k) d[k] = load(rows_ + c * 6 * 16 + k % 2 * 8 + k / 2 + h);
        transform_input(d, v);
        LENET5_UNROLL
        for (int k = 0; k < 6; ++k) store(&input_[k][channel_ + c][h], v[k]);
      }
    }
  }

 private:
#endif
  const float* rows_;
  float (*input_)[kC1][8];
  int channel_;
};

// The products of two column points, a and b, at row point i: sums of five tiles each. `between` is called after each
// of the six channels.
template <typename Between>
LENET5_INLINE void c3_products(const ConvolutionWeights& weights, int i, int a, int b, int h,
                               const float (*input)[kC1][8], Vector (*sum)[kS4], Between&& between) {
  LENET5_UNROLL
  for (int t = 0; t < kS4; ++t) sum[0][t] = sum[1][t] = zero();
  LENET5_UNROLL
  for (int c = 0; c < kC1; ++c) {
    const Vector u = load(&weights.c3[i][c][a][h]), w = load(&weights.c3[i][c][b][h]);
    LENET5_UNROLL
    for (int t = 0; t < kS4; ++t) sum[0][t] = fma(u, all(input[a][c][t]), sum[0][t]);
    LENET5_UNROLL
    for (int t = 0; t < kS4; ++t) sum[1][t] = fma(w, all(input[b][c][t]), sum[1][t]);
    between(c);
  }
}

// Row points in the order in which the output's transform takes them.
constexpr int kRowPoints[6] = {0, 5, 1, 2, 3, 4};

// The products of the points 0 and ∞ are where the outputs begin; of the first of a pair, they wait for the second's.
LENET5_INLINE void c3_keep(const Vector (*y)[kS4], int h, float (*to)[kS4][16]) {
  for (int x = 0; x < 2; ++x) {
    LENET5_UNROLL
    for (int t = 0; t < kS4; ++t) store(&to[x][t][h], y[x][t]);
  }
}

// A pair's products join the outputs; after the last pair these go on to the features.
template <bool Trace, bool Last>
LENET5_INLINE void c3_add(const ConvolutionWeights& weights, int tile_row, int h, const Vector (*y)[kS4],
                          ConvolutionScratch& scratch, float* features, int32_t* choices) {
  LENET5_UNROLL
  for (int t = 0; t < kS4; ++t) {
    Vector outputs[2][2];
    LENET5_UNROLL
    for (int x = 0; x < 2; ++x) {
      const Vector point = load(&scratch.c3_point[x][t][h]);
      float *first = &scratch.c3_outputs[0][x][t][h], *second = &scratch.c3_outputs[1][x][t][h];
      outputs[0][x] = load(first);
      outputs[1][x] = load(second);
      if constexpr (Last) {
        add_second_pair(point, y[x][t], outputs[0][x], outputs[1][x]);
      } else {
        add_first_pair(point, y[x][t], outputs[0][x], outputs[1][x]);
        store(first, outputs[0][x]);
        store(second, outputs[1][x]);
      }
    }
    if constexpr (Last) {
      const int at = (tile_row * kS4 + t) * kC3 + h;
      IntVector choice{};
      const Vector best = Trace ? maximum<true>(outputs, &choice) : maximum<true>(outputs);
      if constexpr (Trace) store(choices + at, choice);
      store(features + at, larger(zero(), best + load(weights.c3_bias + h)));
    }
  }
}

// The transforms are adds, loads and stores and the products multiply-adds, which a processor can do at the same time,
// but only where it finds them within the hundred or so operations it looks ahead: so the input's transform of what
// comes next stands between the products, ten of them at a time. What is at work fits into the first cache, which is
// why only two row points' input is there and why outputs are added up as they come.
template <bool Trace>
LENET5_INLINE void c3_layer(const ConvolutionWeights& weights, ConvolutionScratch& scratch, float* features,
                            int32_t* choices) {
  for (int c = 0; c < kC1; ++c) c3_vertical(0, c, scratch);
  for (int c = 0; c < kC1; c += 2) {
    Horizontal first(scratch.c3_rows[0], kRowPoints[0], scratch.c3_input[0], c);
    LENET5_UNROLL
    for (int s = 0; s < 6; ++s) first.step(s);
  }
  for (int tile_row = 0; tile_row < kS4; ++tile_row) {
    for (int k = 0; k < 6; ++k) {
      const bool more_rows = tile_row + 1 < kS4;
      // After the very last one, something is transformed that nobody reads.
      const int next_row = tile_row + (k == 5), next = kRowPoints[(k + 1) % 6], i = kRowPoints[k];
      const auto* rows = scratch.c3_rows[next_row % 2];
      const auto* input = scratch.c3_input[k % 2];
      auto* next_input = scratch.c3_input[(k + 1) % 2];
      for (int h = 0; h < 16; h += kWidth) {
        Vector y[2][kS4], m[2][kS4];
        Horizontal one(rows, next, next_input, 0), two(rows, next, next_input, 2), three(rows, next, next_input, 4);
        const bool first = h == 0;
        c3_products(weights, i, 0, 5, h, input, y, [&](int s) {
          if (first) one.step(s);
        });
        c3_products(weights, i, 1, 2, h, input, m, [&](int s) {
          if (first) two.step(s);
        });
        LENET5_UNROLL
        for (int t = 0; t < kS4; ++t) add_first_pair(m[0][t], m[1][t], y[0][t], y[1][t]);
        // All six channels before the next row begins.
        if (first && more_rows && k < 5) c3_vertical(tile_row + 1, k, scratch);
        c3_products(weights, i, 3, 4, h, input, m, [&](int s) {
          if (first) three.step(s);
        });
        LENET5_UNROLL
        for (int t = 0; t < kS4; ++t) add_second_pair(m[0][t], m[1][t], y[0][t], y[1][t]);
        if (first && more_rows && k == 0) c3_vertical(tile_row + 1, 5, scratch);
        if (k < 2) {
          c3_keep(y, h, scratch.c3_outputs[k]);
        } else if (k % 2 == 0) {
          c3_keep(y, h, scratch.c3_point);
        } else if (k == 3) {
          c3_add<Trace, false>(weights, tile_row, h, y, scratch, features, choices);
        } else {
          c3_add<Trace, true>(weights, tile_row, h, y, scratch, features, choices);
        }
      }
    }
  }
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
