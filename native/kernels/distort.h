// Resamples one image through an affine map and a field of displacements.
//
// Problem: fetching the four neighbours of each output pixel cannot be vectorised well (gathers of bytes do not exist,
// and those of words are slow on many machines). Resolution: three passes a row. Coordinates and blending are vectors
// of whole rows; between them, scalar code does nothing but copy two pairs of bytes a pixel. Loops over a row have the
// constant length of 32 and no branch, which compilers turn into vectors; 28-pixel rows compute four columns in vain.
#pragma once

#include "kernel_table.h"
#include "simd.h"

namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE {
namespace {

// The cubic B-spline at a distance of t knots.
LENET5_INLINE float cubic_b_spline(float t) {
  t = t < 0 ? -t : t;
  float wide = 2 - t, narrow = 1 - t;
  wide = wide > 0 ? wide : 0;
  narrow = narrow > 0 ? narrow : 0;
  return wide * wide * wide * (1.0f / 6) - narrow * narrow * narrow * (4.0f / 6);
}

// weights[k][i]: the share of knot k in the displacement at coordinate i.
LENET5_INLINE void spline_weights(const Displacements& field, float origin, float (*weights)[kCanvas]) {
  for (int k = 0; k < field.knots; ++k) {
    const float at = origin + static_cast<float>(k);
    for (int i = 0; i < kCanvas; ++i) {
      weights[k][i] = cubic_b_spline(static_cast<float>(i) * field.inverse_spacing - at);
    }
  }
}

// The knots' displacements interpolated along x: one row of `rows` for each row of knots.
LENET5_INLINE void interpolate_columns(const float (*knots)[kMaxKnots], int count, const float (*weights)[kCanvas],
                                       float (*rows)[kCanvas]) {
  for (int row = 0; row < count; ++row) {
    float sum[kCanvas] = {};
    for (int k = 0; k < count; ++k) {
      for (int x = 0; x < kCanvas; ++x) sum[x] += weights[k][x] * knots[row][k];
    }
    for (int x = 0; x < kCanvas; ++x) rows[row][x] = sum[x];
  }
}

// A coordinate in 1/256 pixels from the black frame's first column on. What is not a number ends in the frame, as does
// everything beyond the image: whatever the map may be, the result lies in 0 … 256 × (size + 1).
LENET5_INLINE int32_t fixed_point(float coordinate, float size) {
  coordinate = coordinate > -1.0f ? coordinate : -1.0f;
  coordinate = coordinate < size ? coordinate : size;
  return static_cast<int32_t>((coordinate + 1.0f) * 256.0f + 0.5f);
}

void distort(const uint8_t* image, int size, const Distortion& map, DistortionScratch& scratch, uint8_t* out) {
  // The image in a black frame, one pixel above and to the left, two below and to the right.
  __builtin_memset(scratch.frame, 0, sizeof scratch.frame);
  for (int y = 0; y < size; ++y) {
    uint8_t* row = &scratch.frame[y + 1][1];
    __builtin_memcpy(row, image + y * size, 16);
    __builtin_memcpy(row + size - 16, image + y * size + size - 16, 16);
  }

  const Displacements& field = map.displacements;
  if (field.knots > 0) {
    spline_weights(field, field.origin_x, scratch.weights_x);
    spline_weights(field, field.origin_y, scratch.weights_y);
    interpolate_columns(field.x, field.knots, scratch.weights_x, scratch.rows_x);
    interpolate_columns(field.y, field.knots, scratch.weights_x, scratch.rows_y);
  }

  const float limit = static_cast<float>(size);
  for (int y = 0; y < size; ++y) {
    alignas(64) float source_x[kCanvas], source_y[kCanvas];
    const float from_x = map.x0 + map.xy * static_cast<float>(y), from_y = map.y0 + map.yy * static_cast<float>(y);
    for (int x = 0; x < kCanvas; ++x) {
      source_x[x] = from_x + map.xx * static_cast<float>(x);
      source_y[x] = from_y + map.yx * static_cast<float>(x);
    }
    for (int k = 0; k < field.knots; ++k) {
      const float weight = scratch.weights_y[k][y];
      if (weight == 0) continue;
      for (int x = 0; x < kCanvas; ++x) {
        source_x[x] += weight * scratch.rows_x[k][x];
        source_y[x] += weight * scratch.rows_y[k][x];
      }
    }
    for (int x = 0; x < kCanvas; ++x) {
      const int32_t u = fixed_point(source_x[x], limit), v = fixed_point(source_y[x], limit);
      scratch.place[y][x] = (v >> 8) * kFrameStride + (u >> 8);
      scratch.right[y][x] = u & 255;
      scratch.down[y][x] = v & 255;
    }
  }

  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      const uint8_t* pixel = &scratch.frame[0][0] + scratch.place[y][x];
      __builtin_memcpy(scratch.above[y][x], pixel, 2);
      __builtin_memcpy(scratch.below[y][x], pixel + kFrameStride, 2);
    }
  }

  for (int y = 0; y < size; ++y) {
    alignas(64) uint8_t blended[kCanvas];
    for (int x = 0; x < kCanvas; ++x) {
      const uint8_t *above = scratch.above[y][x], *below = scratch.below[y][x];
      const int32_t right = scratch.right[y][x], down = scratch.down[y][x];
      const int32_t upper = above[0] * 256 + (above[1] - above[0]) * right;
      const int32_t lower = below[0] * 256 + (below[1] - below[0]) * right;
      blended[x] = static_cast<uint8_t>((upper * 256 + (lower - upper) * down + (1 << 15)) >> 16);
    }
    __builtin_memcpy(out + y * size, blended, 16);
    __builtin_memcpy(out + y * size + size - 16, blended + size - 16, 16);
  }
}

}  // namespace
}  // namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE
