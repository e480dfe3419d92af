// The few vector operations the kernels are written in. Included by one translation unit for each instruction set,
// which defines LENET5_INSTRUCTION_SET_NAMESPACE first; everything lives in that namespace and has internal linkage, so
// that the linker can never hand a function compiled for AVX-512 to the baseline.
#pragma once

#include <cstdint>
#if defined(__AVX512F__) || defined(__AVX2__) || defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#define LENET5_INLINE inline __attribute__((always_inline))
#if defined(__clang__)
#define LENET5_UNROLL _Pragma("clang loop unroll(full)")
#else
#define LENET5_UNROLL _Pragma("GCC unroll 64")
#endif

namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE {
namespace {

// kWidth: floats in a vector. kManyRegisters: 32 vector registers instead of 16.
#if defined(__AVX512F__)
constexpr int kWidth = 16;
constexpr bool kManyRegisters = true;
#elif defined(__AVX2__)
constexpr int kWidth = 8;
constexpr bool kManyRegisters = false;
#elif defined(__ARM_NEON)
constexpr int kWidth = 4;
constexpr bool kManyRegisters = true;
#else
constexpr int kWidth = 4;
constexpr bool kManyRegisters = false;
#endif

typedef float Vector __attribute__((vector_size(4 * kWidth)));
typedef int32_t IntVector __attribute__((vector_size(4 * kWidth)));
typedef float UnalignedVector __attribute__((vector_size(4 * kWidth), aligned(4), may_alias));
typedef int32_t UnalignedIntVector __attribute__((vector_size(4 * kWidth), aligned(4), may_alias));

LENET5_INLINE Vector load(const float* p) { return *reinterpret_cast<const UnalignedVector*>(p); }
LENET5_INLINE void store(float* p, Vector v) { *reinterpret_cast<UnalignedVector*>(p) = v; }
LENET5_INLINE IntVector load(const int32_t* p) { return *reinterpret_cast<const UnalignedIntVector*>(p); }
LENET5_INLINE void store(int32_t* p, IntVector v) { *reinterpret_cast<UnalignedIntVector*>(p) = v; }
LENET5_INLINE Vector zero() { return Vector{}; }

LENET5_INLINE Vector all(float x) {
#if defined(__AVX512F__)
  return _mm512_set1_ps(x);
#elif defined(__AVX2__)
  return _mm256_set1_ps(x);
#elif defined(__SSE2__)
  return _mm_set1_ps(x);
#else
  return Vector{} + x;
#endif
}

// a × b + c
LENET5_INLINE Vector fma(Vector a, Vector b, Vector c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__)
  return _mm256_fmadd_ps(a, b, c);
#elif defined(__ARM_NEON) && defined(__aarch64__)
  return vfmaq_f32(c, a, b);
#else
  return a * b + c;
#endif
}

#if defined(__AVX512F__)
// Half a vector, for the rest of a row that needs no more: half the work where wide operations are done in two halves.
typedef float HalfVector __attribute__((vector_size(2 * kWidth)));
LENET5_INLINE HalfVector load_half(const float* p) { return _mm256_loadu_ps(p); }
LENET5_INLINE HalfVector fma(HalfVector a, float b, HalfVector c) { return _mm256_fmadd_ps(a, _mm256_set1_ps(b), c); }
// The other half becomes zero.
LENET5_INLINE Vector widened(HalfVector v) { return _mm512_zextps256_ps512(v); }
#endif

// The larger of each lane; b where either is not a number.
LENET5_INLINE Vector larger(Vector a, Vector b) {
#if defined(__AVX512F__)
  return _mm512_max_ps(a, b);
#elif defined(__AVX2__)
  return _mm256_max_ps(a, b);
#elif defined(__SSE2__)
  return _mm_max_ps(a, b);
#else
  return a > b ? a : b;
#endif
}

LENET5_INLINE Vector square_root(Vector a) {
#if defined(__AVX512F__)
  return _mm512_sqrt_ps(a);
#elif defined(__AVX2__)
  return _mm256_sqrt_ps(a);
#elif defined(__SSE2__)
  return _mm_sqrt_ps(a);
#elif defined(__aarch64__)
  return vsqrtq_f32(a);
#else
  Vector r{};
  for (int i = 0; i < kWidth; ++i) r[i] = __builtin_sqrtf(a[i]);
  return r;
#endif
}

// Lanes of 32-bit masks (all ones or zero) that choose a or b.
LENET5_INLINE Vector choose(IntVector mask, Vector a, Vector b) { return mask ? a : b; }
LENET5_INLINE IntVector choose(IntVector mask, IntVector a, IntVector b) { return mask ? a : b; }

// Small non-negative integers to bytes.
LENET5_INLINE void store_bytes(uint8_t* p, IntVector v) {
#if defined(__AVX512F__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(reinterpret_cast<__m512i>(v)));
#else
  for (int i = 0; i < kWidth; ++i) p[i] = static_cast<uint8_t>(v[i]);
#endif
}

// A bit for each lane that is greater than zero.
LENET5_INLINE unsigned positive_lanes(Vector v) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(v, zero(), _CMP_GT_OQ);
#elif defined(__AVX2__)
  return static_cast<unsigned>(_mm256_movemask_ps(v > zero()));
#elif defined(__SSE2__)
  return static_cast<unsigned>(_mm_movemask_ps(v > zero()));
#else
  unsigned bits = 0;
  for (int i = 0; i < kWidth; ++i) bits |= static_cast<unsigned>(v[i] > 0) << i;
  return bits;
#endif
}

// A bit for each lane in which the two are equal.
LENET5_INLINE unsigned equal_lanes(Vector a, Vector b) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
#elif defined(__AVX2__)
  return static_cast<unsigned>(_mm256_movemask_ps(a == b));
#elif defined(__SSE2__)
  return static_cast<unsigned>(_mm_movemask_ps(a == b));
#else
  unsigned bits = 0;
  for (int i = 0; i < kWidth; ++i) bits |= static_cast<unsigned>(a[i] == b[i]) << i;
  return bits;
#endif
}

// Zero where `active` is not positive: the derivative of ReLU.
LENET5_INLINE Vector where_positive(Vector active, Vector v) { return active > zero() ? v : zero(); }

constexpr float kLeastExponent = -87.0f;

// exp(x) for x ≤ 0, to about one unit in the last place; below -87 it stays at exp(-87), which is 1e-38 and no
// subnormal. A lane that is not a number stays so.
LENET5_INLINE Vector exponential(Vector x) {
  x = larger(all(kLeastExponent), x);
  const Vector magic = all(12582912.0f);  // 1.5 × 2^23: adding it rounds to an integer
  Vector n = fma(x, all(1.44269504088896341f), magic) - magic;
  Vector r = fma(n, all(-0.693359375f), x);
  r = fma(n, all(2.12194440e-4f), r);
  Vector p = all(1.9875691500e-4f);
  p = fma(p, r, all(1.3981999507e-3f));
  p = fma(p, r, all(8.3334519073e-3f));
  p = fma(p, r, all(4.1665795894e-2f));
  p = fma(p, r, all(1.6666665459e-1f));
  p = fma(p, r, all(5.0000001201e-1f));
  p = fma(p, r * r, r) + all(1.0f);
  const IntVector exponent = __builtin_convertvector(n, IntVector);
  return p * reinterpret_cast<Vector>((exponent + 127) << 23);
}

// Writes the lanes of v and of index whose bit is set, one after another, and returns how many. A whole vector may be
// written beyond the last.
#if defined(__AVX512F__)
LENET5_INLINE int write_listed(__mmask16 lanes, Vector v, IntVector index, float* values, int32_t* list) {
  store(values, _mm512_maskz_compress_ps(lanes, v));
  store(list, reinterpret_cast<IntVector>(_mm512_maskz_compress_epi32(lanes, reinterpret_cast<__m512i>(index))));
  return __builtin_popcount(lanes);
}
#endif

// Lists the non-zero ones of n values, with their positions; both lists need room for a vector more than n.
LENET5_INLINE int list_nonzero(const float* x, int n, float* values, int32_t* list) {
  int count = 0, i = 0;
#if defined(__AVX512F__)
  IntVector index = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  for (; i + 16 <= n; i += 16, index += 16) {
    const Vector v = load(x + i);
    count += write_listed(_mm512_cmp_ps_mask(v, zero(), _CMP_NEQ_UQ), v, index, values + count, list + count);
  }
#endif
  for (; i < n; ++i) {
    values[count] = x[i];
    list[count] = i;
    count += x[i] != 0;
  }
  return count;
}

// out[j][i] = in[i][j] for a block of 16×16 floats; strides in floats.
LENET5_INLINE void transpose_block(const float* in, int64_t in_stride, float* out, int64_t out_stride) {
#if defined(__AVX512F__)
  __m512 r[16], t[16];
  LENET5_UNROLL
  for (int i = 0; i < 16; ++i) r[i] = load(in + i * in_stride);
  LENET5_UNROLL
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
  // r[4i + j]: in each quarter q, rows 4i … 4i + 3 of column 4q + j
  LENET5_UNROLL
  for (int i = 0; i < 16; i += 4) {
    LENET5_UNROLL
    for (int j = 0; j < 2; ++j) {
      const __m512d a = _mm512_castps_pd(t[i + j]), b = _mm512_castps_pd(t[i + j + 2]);
      r[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
      r[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    }
  }
  LENET5_UNROLL
  for (int j = 0; j < 4; ++j) {
    const __m512 even1 = _mm512_shuffle_f32x4(r[j], r[4 + j], 0x88), odd1 = _mm512_shuffle_f32x4(r[j], r[4 + j], 0xdd);
    const __m512 even2 = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0x88);
    const __m512 odd2 = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0xdd);
    store(out + j * out_stride, _mm512_shuffle_f32x4(even1, even2, 0x88));
    store(out + (4 + j) * out_stride, _mm512_shuffle_f32x4(odd1, odd2, 0x88));
    store(out + (8 + j) * out_stride, _mm512_shuffle_f32x4(even1, even2, 0xdd));
    store(out + (12 + j) * out_stride, _mm512_shuffle_f32x4(odd1, odd2, 0xdd));
  }
#else
  for (int j = 0; j < 16; ++j) {
    for (int i = 0; i < 16; ++i) out[j * out_stride + i] = in[i * in_stride + j];
  }
#endif
}

// Up to a vector of n floats, and nothing beyond them; the other lanes hold `filler`.
LENET5_INLINE Vector load_some(const float* p, int n, float filler) {
  if (n >= kWidth) return load(p);
#if defined(__AVX512F__)
  return _mm512_mask_loadu_ps(all(filler), static_cast<__mmask16>((1u << n) - 1), p);
#else
  Vector v = all(filler);
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
#endif
}
LENET5_INLINE void store_some(float* p, int n, Vector v) {
  if (n >= kWidth) return store(p, v);
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), v);
#else
  for (int i = 0; i < n; ++i) p[i] = v[i];
#endif
}

LENET5_INLINE float sum_lanes(Vector v) {
  float s = 0;
  for (int i = 0; i < kWidth; ++i) s += v[i];
  return s;
}
LENET5_INLINE float largest_lane(Vector v) {
  float m = v[0];
  for (int i = 1; i < kWidth; ++i) m = v[i] > m ? v[i] : m;
  return m;
}

}  // namespace
}  // namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE
