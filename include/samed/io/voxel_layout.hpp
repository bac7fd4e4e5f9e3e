// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <samed/core/result.hpp>
#include <samed/core/types.hpp>

namespace samed {

namespace detail {

template <class T, bool Swap>
T load_number(std::byte const* p) {
    using Bits = std::conditional_t<
        sizeof(T) == 1, std::uint8_t,
        std::conditional_t<sizeof(T) == 2, std::uint16_t, std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>>>;
    Bits bits = 0;
    std::memcpy(&bits, p, sizeof(T));
    if constexpr (Swap && sizeof(T) == 2) bits = __builtin_bswap16(bits);
    if constexpr (Swap && sizeof(T) == 4) bits = __builtin_bswap32(bits);
    if constexpr (Swap && sizeof(T) == 8) bits = __builtin_bswap64(bits);
    return std::bit_cast<T>(bits);
}

template <class T>
T load_number(std::byte const* p, bool swap) {
    return swap ? load_number<T, true>(p) : load_number<T, false>(p);
}

template <class T>
void store_number(std::byte* p, T value, bool swap) {
    std::memcpy(p, &value, sizeof(T));
    if (swap) std::reverse(p, p + sizeof(T));
}

inline FixedText<160> real_text(double value) {
    char digits[40];
    auto const end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    return std::string_view(digits, std::min(static_cast<std::size_t>(end - digits), sizeof digits));  // GCC 11 cannot see the bound
}

}  // namespace detail

/// How voxels stand in a file, as the headers of NIfTI, NRRD and MetaImage say alike. Arrays are [z, y, x] with x fastest.
struct VoxelLayout {
    int size[3] = {1, 1, 1};   ///< voxels along x, y, z
    std::int64_t volumes = 1;  ///< product of the dimensions behind the third
    DType type = DType::u8;    ///< as stored
    bool big_endian = false;
    double slope = 1, intercept = 0;  ///< value = slope * stored + intercept
    std::uint64_t data_offset = 0;    ///< byte of the first voxel, in the content where that is compressed

    bool swapped() const { return big_endian != (std::endian::native == std::endian::big); }
    bool scaled() const { return slope != 1 || intercept != 0; }
    std::size_t plane_voxels() const { return static_cast<std::size_t>(size[0]) * static_cast<std::size_t>(size[1]); }
    std::size_t volume_voxels() const { return plane_voxels() * static_cast<std::size_t>(size[2]); }
    std::uint64_t volume_bytes() const { return std::uint64_t{volume_voxels()} * static_cast<std::uint64_t>(samed::size_bytes(type)); }
    /// First byte behind the last voxel; every header's parser has checked that it exists as a 63-bit number.
    std::uint64_t data_end() const { return data_offset + volume_bytes() * static_cast<std::uint64_t>(volumes); }
};

}  // namespace samed
