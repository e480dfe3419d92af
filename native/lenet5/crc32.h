// CRC-32 as zlib and Node's zlib.crc32 compute it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lenet5 {

// `before`: the CRC-32 of what came before, to go on from.
uint32_t crc32(const void* data, size_t length, uint32_t before = 0);

}  // namespace lenet5
