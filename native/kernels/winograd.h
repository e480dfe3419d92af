// Winograd's minimal filtering F(2,5): two neighbouring outputs of a 5-tap filter from six multiplications, not ten.
//
// Problem: the convolutions alone would keep the machine's multiply-adders busy for longer than the whole network
// should take. Resolution: two outputs y = Aᵀ[(G g) ⊙ (Bᵀ d)] of the filter g over six inputs d, by evaluating both at
// the points 0, ±1/√2, ±√2 and ∞ (Winograd, Arithmetic Complexity of Computations, 1980; Lavin & Gray,
// arXiv:1509.09308). These points are reciprocal, so that most constants are exact in binary and none is large:
// measured against double precision the rounding error is that of the direct sum in one dimension and about twice that
// in two, whereas the usual 0, ±1, ±2 costs four times as much. A pooled output is exactly one tile of 2×2, so tiling
// wastes nothing here.
#pragma once

#include "simd.h"

namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE {
namespace {

constexpr float kRootHalf = 0.70710678118654752f;
constexpr float kRootTwo = 1.41421356237309505f;

// v = Bᵀ d, with rows 0, 3, 4 and 5 doubled (and halved in G), which makes most of it additions: those run beside the
// multiply-adds of the products, on which the time depends. In three pieces, for whoever has something else to do
// between them.
struct InputTransform {
  Vector even1, even2, odd1, odd2;

  // From d0, d2 and d4: v0.
  LENET5_INLINE Vector even(Vector d0, Vector d2, Vector d4) {
    const Vector twice2 = d2 + d2;
    even1 = d4 - twice2;
    even2 = (d4 + d4) - d2;
    return ((d0 + d0) + even2) - (twice2 + twice2);
  }
  // From d1, d3 and d5: v5.
  LENET5_INLINE Vector odd(Vector d1, Vector d3, Vector d5) {
    const Vector twice3 = d3 + d3, odd = d3 - (d1 + d1);
    odd1 = all(kRootHalf) * odd;
    odd2 = all(kRootTwo) * (twice3 - d1);
    return ((d5 + d5) - odd) - (twice3 + twice3);
  }
  // After both, v1 … v4.
  LENET5_INLINE void both(Vector* v) const {
    v[0] = even1 + odd1;
    v[1] = even1 - odd1;
    v[2] = even2 + odd2;
    v[3] = even2 - odd2;
  }
};
LENET5_INLINE void transform_input(const Vector* d, Vector* v) {
  InputTransform transform;
  v[0] = transform.even(d[0], d[2], d[4]);
  v[5] = transform.odd(d[1], d[3], d[5]);
  transform.both(v + 1);
}

// y = Aᵀ m, y1 times √2, which leaves additions alone; halved (√½) where it is pooled. By pairs of points, whose
// products come one pair after another: y0 and y1 begin as those of the points 0 and ∞.
LENET5_INLINE void add_first_pair(Vector m1, Vector m2, Vector& y0, Vector& y1) {
  y0 += m1 + m2;
  y1 += m1 - m2;
}
LENET5_INLINE void add_second_pair(Vector m3, Vector m4, Vector& y0, Vector& y1) {
  const Vector difference = m3 - m4;
  y0 += m3 + m4;
  y1 += difference + difference;
}
LENET5_INLINE void transform_output(const Vector* m, Vector* y) {
  y[0] = m[0];
  y[1] = m[5];
  add_first_pair(m[1], m[2], y[0], y[1]);
  add_second_pair(m[3], m[4], y[0], y[1]);
}

// u = G g
LENET5_INLINE void transform_kernel(const Vector* g, Vector* u) {
  const Vector even1 = fma(all(0.25f), g[4], fma(all(0.5f), g[2], g[0]));
  const Vector odd1 = all(kRootHalf) * fma(all(0.5f), g[3], g[1]);
  const Vector even2 = fma(all(4.0f), g[4], fma(all(2.0f), g[2], g[0]));
  const Vector odd2 = all(kRootTwo) * fma(all(2.0f), g[3], g[1]);
  u[0] = all(0.5f) * g[0];
  u[1] = all(-2.0f / 3) * (even1 + odd1);
  u[2] = all(-2.0f / 3) * (even1 - odd1);
  u[3] = all(1.0f / 12) * (even2 + odd2);
  u[4] = all(1.0f / 12) * (even2 - odd2);
  u[5] = all(kRootHalf) * g[4];
}

}  // namespace
}  // namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE
