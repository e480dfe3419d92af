// With carry-less multiplication (PCLMULQDQ) where the processor has it: 64 bytes at a time are folded into 16, those
// reduced by Barrett's method (Gopal and others, "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ
// Instruction", Intel 2009; the constants are theirs for the bit-reflected polynomial). Elsewhere eight bytes at a time
// over eight tables ("slicing by eight", Kounavis and Berry 2005).
#include "crc32.h"

#include <array>

#if (defined(__x86_64__) || defined(_M_X64)) && !defined(_MSC_VER)
#define LENET5_CRC32_FOLDS
#include <immintrin.h>
#endif

namespace lenet5 {

namespace {

using Tables = std::array<std::array<uint32_t, 256>, 8>;

Tables make_tables() {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; bit++) value = (value >> 1) ^ ((value & 1) != 0 ? 0xedb88320u : 0u);
    tables[0][byte] = value;
  }
  for (size_t table = 1; table < tables.size(); table++) {
    for (size_t byte = 0; byte < 256; byte++) {
      const uint32_t value = tables[table - 1][byte];
      tables[table][byte] = (value >> 8) ^ tables[0][value & 0xff];
    }
  }
  return tables;
}

#ifdef LENET5_CRC32_FOLDS

__attribute__((target("pclmul,sse4.1"))) __m128i folded(__m128i value, __m128i by, __m128i next) {
  const __m128i low = _mm_clmulepi64_si128(value, by, 0x00);
  const __m128i high = _mm_clmulepi64_si128(value, by, 0x11);
  return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

// `length` is a multiple of 16 and at least 64; `value` is the register, not the CRC, before and after.
__attribute__((target("pclmul,sse4.1"))) uint32_t fold(const unsigned char* bytes, size_t length, uint32_t value) {
  const auto load = [](const unsigned char* from) __attribute__((target("pclmul,sse4.1"))) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  };
  const __m128i by_64 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4);
  const __m128i by_16 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
  const __m128i by_8 = _mm_set_epi64x(0, 0x0163cd6124);
  const __m128i barrett = _mm_set_epi64x(0x01f7011641, 0x01db710641);
  const __m128i low_words = _mm_setr_epi32(~0, 0, ~0, 0);

  __m128i a = _mm_xor_si128(load(bytes), _mm_cvtsi32_si128(static_cast<int>(value)));
  __m128i b = load(bytes + 16), c = load(bytes + 32), d = load(bytes + 48);
  for (bytes += 64, length -= 64; length >= 64; bytes += 64, length -= 64) {
    a = folded(a, by_64, load(bytes));
    b = folded(b, by_64, load(bytes + 16));
    c = folded(c, by_64, load(bytes + 32));
    d = folded(d, by_64, load(bytes + 48));
  }
  a = folded(folded(folded(a, by_16, b), by_16, c), by_16, d);
  for (; length >= 16; bytes += 16, length -= 16) a = folded(a, by_16, load(bytes));

  a = _mm_xor_si128(_mm_srli_si128(a, 8), _mm_clmulepi64_si128(a, by_16, 0x10));
  a = _mm_xor_si128(_mm_srli_si128(a, 4), _mm_clmulepi64_si128(_mm_and_si128(a, low_words), by_8, 0x00));
  __m128i quotient = _mm_clmulepi64_si128(_mm_and_si128(a, low_words), barrett, 0x10);
  quotient = _mm_clmulepi64_si128(_mm_and_si128(quotient, low_words), barrett, 0x00);
  return static_cast<uint32_t>(_mm_extract_epi32(_mm_xor_si128(a, quotient), 1));
}

#endif

}  // namespace

uint32_t crc32(const void* data, size_t length, uint32_t before) {
  static const Tables tables = make_tables();
  const auto* bytes = static_cast<const unsigned char*>(data);
  uint32_t value = ~before;
#ifdef LENET5_CRC32_FOLDS
  static const bool can_fold = __builtin_cpu_supports("pclmul") != 0 && __builtin_cpu_supports("sse4.1") != 0;
  if (can_fold && length >= 64) {
    const size_t whole = length & ~static_cast<size_t>(15);
    value = fold(bytes, whole, value);
    bytes += whole;
    length -= whole;
  }
#endif
  for (; length >= 8; bytes += 8, length -= 8) {
    const uint32_t first = value ^ (static_cast<uint32_t>(bytes[0]) | static_cast<uint32_t>(bytes[1]) << 8 |
                                    static_cast<uint32_t>(bytes[2]) << 16 | static_cast<uint32_t>(bytes[3]) << 24);
    value = tables[7][first & 0xff] ^ tables[6][(first >> 8) & 0xff] ^ tables[5][(first >> 16) & 0xff] ^
            tables[4][first >> 24] ^ tables[3][bytes[4]] ^ tables[2][bytes[5]] ^ tables[1][bytes[6]] ^
            tables[0][bytes[7]];
  }
  for (; length > 0; bytes++, length--) value = (value >> 8) ^ tables[0][(value ^ *bytes) & 0xff];
  return ~value;
}

}  // namespace lenet5
