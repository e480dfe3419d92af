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

// v = Bᵀ d, with rows 3 and 4 doubled (and halved in G), which makes most of it additions: those run beside the
// multiply-adds of the products, on which the time depends.
LENET5_INLINE void transform_input(const Vector* d, Vector* v) {
  const Vector even1 = d[4] - (d[2] + d[2]), odd1 = all(kRootHalf) * (d[3] - (d[1] + d[1]));
  const Vector even2 = (d[4] + d[4]) - d[2], odd2 = all(kRootTwo) * ((d[3] + d[3]) - d[1]);
  v[0] = fma(all(-2.5f), d[2], d[0] + d[4]);
  v[1] = even1 + odd1;
  v[2] = even1 - odd1;
  v[3] = even2 + odd2;
  v[4] = even2 - odd2;
  v[5] = fma(all(-2.5f), d[3], d[1] + d[5]);
}

// y = Aᵀ m
LENET5_INLINE void transform_output(const Vector* m, Vector* y) {
  const Vector sum1 = m[1] + m[2], difference1 = m[1] - m[2];
  const Vector sum2 = m[3] + m[4], difference2 = m[3] - m[4];
  y[0] = (m[0] + sum1) + sum2;
  y[1] = fma(all(kRootTwo), difference2, fma(all(kRootHalf), difference1, m[5]));
}

// u = G g
LENET5_INLINE void transform_kernel(const Vector* g, Vector* u) {
  const Vector even1 = fma(all(0.25f), g[4], fma(all(0.5f), g[2], g[0]));
  const Vector odd1 = all(kRootHalf) * fma(all(0.5f), g[3], g[1]);
  const Vector even2 = fma(all(4.0f), g[4], fma(all(2.0f), g[2], g[0]));
  const Vector odd2 = all(kRootTwo) * fma(all(2.0f), g[3], g[1]);
  u[0] = g[0];
  u[1] = all(-2.0f / 3) * (even1 + odd1);
  u[2] = all(-2.0f / 3) * (even1 - odd1);
  u[3] = all(1.0f / 12) * (even2 + odd2);
  u[4] = all(1.0f / 12) * (even2 - odd2);
  u[5] = g[4];
}

}  // namespace
}  // namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE
