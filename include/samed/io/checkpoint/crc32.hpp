// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace samed {

namespace detail {

/// Slicing-by-8 tables of the reflected polynomial 0xEDB88320: row k advances a byte past k zero bytes.
constexpr std::array<std::array<std::uint32_t, 256>, 8> crc32_tables() {
    std::array<std::array<std::uint32_t, 256>, 8> t{};
    for (std::uint32_t i = 0; i < 256; ++i) {
        std::uint32_t c = i;
        for (int bit = 0; bit < 8; ++bit) c = (c & 1u) ? 0xedb88320u ^ (c >> 1) : c >> 1;
        t[0][i] = c;
    }
    for (std::size_t k = 1; k < 8; ++k)
        for (std::size_t i = 0; i < 256; ++i) t[k][i] = t[0][t[k - 1][i] & 255u] ^ (t[k - 1][i] >> 8);
    return t;
}

inline constexpr auto crc32_table = crc32_tables();

}  // namespace detail

/// CRC-32 of zip. `crc` is the result of the bytes before, 0 at the start.
/// @cost about 1.5 bytes per cycle after Kounavis and Berry, "Novel table lookup-based algorithms for high-performance CRC generation"
inline std::uint32_t crc32(void const* data, std::size_t bytes, std::uint32_t crc = 0) {
    auto const& t = detail::crc32_table;
    auto const* p = static_cast<std::uint8_t const*>(data);
    crc = ~crc;
    for (; bytes >= 8; p += 8, bytes -= 8) {
        std::uint32_t low = 0, high = 0;
        std::memcpy(&low, p, 4);
        std::memcpy(&high, p + 4, 4);
        low ^= crc;
        crc = t[7][low & 255u] ^ t[6][(low >> 8) & 255u] ^ t[5][(low >> 16) & 255u] ^ t[4][low >> 24] ^ t[3][high & 255u] ^
              t[2][(high >> 8) & 255u] ^ t[1][(high >> 16) & 255u] ^ t[0][high >> 24];
    }
    for (; bytes > 0; ++p, --bytes) crc = t[0][(crc ^ *p) & 255u] ^ (crc >> 8);
    return ~crc;
}

}  // namespace samed
