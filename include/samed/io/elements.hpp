// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <samed/core/result.hpp>
#include <samed/core/types.hpp>

namespace samed {

static_assert(std::endian::native == std::endian::little, "stored tensors are little-endian and read in place");

/// Whether elements of this type are read as f32 weights.
constexpr bool is_floating(DType type) {
    return type == DType::f32 || type == DType::f16 || type == DType::bf16 || type == DType::f64;
}

namespace detail {

/// Number of the first NaN or infinity in `values`, `count` when there is none.
inline std::size_t find_not_finite(float const* values, std::size_t count) {
    constexpr std::size_t chunk = 1024;
    for (std::size_t begin = 0; begin < count; begin += chunk) {
        std::size_t const end = count - begin < chunk ? count : begin + chunk;
        std::uint32_t worst = 0;  // a branch-free maximum: the compiler vectorises it
        for (std::size_t i = begin; i < end; ++i) {
            std::uint32_t const magnitude = std::bit_cast<std::uint32_t>(values[i]) & 0x7fffffffu;
            worst = magnitude > worst ? magnitude : worst;
        }
        if (worst < 0x7f800000u) continue;
        for (std::size_t i = begin; i < end; ++i)
            if ((std::bit_cast<std::uint32_t>(values[i]) & 0x7f800000u) == 0x7f800000u) return i;
    }
    return count;
}

template <class Stored, class Convert>
void convert_elements(std::byte const* from, std::size_t count, float* to, Convert convert) {
    for (std::size_t i = 0; i < count; ++i) {
        Stored value;
        std::memcpy(&value, from + i * sizeof(Stored), sizeof(Stored));  // stored tensors may lie unaligned
        to[i] = convert(value);
    }
}

/// The half of these bits as f32, without a branch so that loops vectorise. Infinity and NaN keep their exponent of all ones.
inline float half_to_f32(std::uint16_t bits) {
    std::uint32_t const magnitude = std::uint32_t{bits & 0x7fffu} << 13;
    std::uint32_t const special = magnitude >= 0x0f800000u ? 0x38000000u : 0u;
    std::uint32_t const normal = magnitude + 0x38000000u + special;
    // A subnormal half: 2^-14 + fraction is a normal f32, and taking 2^-14 away again is exact.
    float const shifted = std::bit_cast<float>(magnitude + 0x38800000u) - 0x1p-14f;
    std::uint32_t const result = magnitude < 0x00800000u ? std::bit_cast<std::uint32_t>(shifted) : normal;
    return std::bit_cast<float>(result | std::uint32_t{bits & 0x8000u} << 16);
}

}  // namespace detail

/// Converts `count` stored little-endian elements to f32, rounding to nearest even; a boolean gives 0 or 1.
inline void elements_to_f32(DType type, std::byte const* from, std::size_t count, float* to) {
    auto const rounded = [](auto x) { return static_cast<float>(x); };
    switch (type) {
        case DType::f32: std::memcpy(to, from, count * sizeof(float)); return;
        case DType::f16: return detail::convert_elements<std::uint16_t>(from, count, to, detail::half_to_f32);
        case DType::bf16:
            return detail::convert_elements<std::uint16_t>(from, count, to, [](std::uint16_t x) { return to_f32(BFloat16{x}); });
        case DType::f64: return detail::convert_elements<double>(from, count, to, rounded);
        case DType::u8: return detail::convert_elements<std::uint8_t>(from, count, to, rounded);
        case DType::i8: return detail::convert_elements<std::int8_t>(from, count, to, rounded);
        case DType::u16: return detail::convert_elements<std::uint16_t>(from, count, to, rounded);
        case DType::i16: return detail::convert_elements<std::int16_t>(from, count, to, rounded);
        case DType::u32: return detail::convert_elements<std::uint32_t>(from, count, to, rounded);
        case DType::i32: return detail::convert_elements<std::int32_t>(from, count, to, rounded);
        case DType::u64: return detail::convert_elements<std::uint64_t>(from, count, to, rounded);
        case DType::i64: return detail::convert_elements<std::int64_t>(from, count, to, rounded);
        case DType::boolean:
            return detail::convert_elements<std::uint8_t>(from, count, to, [](std::uint8_t x) { return x != 0 ? 1.f : 0.f; });
    }
}

/// Converts f32 to stored little-endian f32, f16 or bf16, rounding to nearest even; i8 takes integers in its range.
inline void elements_from_f32(DType type, float const* from, std::size_t count, std::byte* to) {
    if (type == DType::f32) {
        std::memcpy(to, from, count * sizeof(float));
        return;
    }
    if (type == DType::i8) {
        for (std::size_t i = 0; i < count; ++i) to[i] = static_cast<std::byte>(static_cast<std::int8_t>(from[i]));
        return;
    }
    SAMED_ASSERT(type == DType::f16 || type == DType::bf16);
    for (std::size_t i = 0; i < count; ++i) {
        std::uint16_t const bits = type == DType::f16 ? to_f16(from[i]).bits : to_bf16(from[i]).bits;
        std::memcpy(to + 2 * i, &bits, 2);
    }
}

/// The error of a tensor that holds NaN or infinity at element `index`.
inline Error not_finite_at(std::string_view tensor, std::uint64_t index) {
    return fail(ErrorCode::not_finite, tensor, "finite values", text() << "NaN, infinity or an overflow at element " << index);
}

}  // namespace samed
