// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

namespace samed {

/// A size that the model file decides instead of the type.
inline constexpr int dynamic = -1;

/// Storage types of tensors and volumes.
enum class DType : std::uint8_t { f32, f16, bf16, f64, u8, i8, u16, i16, u32, i32, u64, i64, boolean };

constexpr int size_bytes(DType type) {
    switch (type) {
        case DType::u8: case DType::i8: case DType::boolean: return 1;
        case DType::f16: case DType::bf16: case DType::u16: case DType::i16: return 2;
        case DType::f32: case DType::u32: case DType::i32: return 4;
        case DType::f64: case DType::u64: case DType::i64: return 8;
    }
    return 0;
}

/// Names as safetensors spells them.
constexpr std::string_view name(DType type) {
    switch (type) {
        case DType::f32: return "F32";
        case DType::f16: return "F16";
        case DType::bf16: return "BF16";
        case DType::f64: return "F64";
        case DType::u8: return "U8";
        case DType::i8: return "I8";
        case DType::u16: return "U16";
        case DType::i16: return "I16";
        case DType::u32: return "U32";
        case DType::i32: return "I32";
        case DType::u64: return "U64";
        case DType::i64: return "I64";
        case DType::boolean: return "BOOL";
    }
    return "?";
}

/// How a backend keeps a matrix of weights and multiplies by it; all else is f32.
enum class Precision : std::uint8_t {
    f32,
    f16,            ///< kept in half the memory, f32 arithmetic
    bf16,           ///< the same
    bf16_products,  ///< both operands bf16, products summed in f32, where the processor can; elsewhere as bf16
    int8,           ///< a scale an output channel, a scale and a zero point a row of the other operand, exact integer sums
};

constexpr std::string_view name(Precision precision) {
    switch (precision) {
        case Precision::f32: return "f32";
        case Precision::f16: return "f16";
        case Precision::bf16: return "bf16";
        case Precision::bf16_products: return "bf16-products";
        case Precision::int8: return "int8";
    }
    return "?";
}

/// IEEE half precision, storage only.
struct Half {
    std::uint16_t bits = 0;
};

/// bfloat16: the upper half of an f32, storage only.
struct BFloat16 {
    std::uint16_t bits = 0;
};

/// The type that values stored as T are computed in.
template <class T>
struct ArithmeticOf {
    using type = T;
};
template <>
struct ArithmeticOf<Half> {
    using type = float;
};
template <>
struct ArithmeticOf<BFloat16> {
    using type = float;
};
template <class T>
using Arithmetic = typename ArithmeticOf<T>::type;

constexpr float to_f32(BFloat16 x) { return std::bit_cast<float>(std::uint32_t{x.bits} << 16); }

constexpr float to_f32(Half x) {
    std::uint32_t const sign = std::uint32_t(x.bits & 0x8000u) << 16;
    std::uint32_t const exponent = (x.bits >> 10) & 31u;
    std::uint32_t const fraction = x.bits & 0x3ffu;
    if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (fraction << 13));
    if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
    // Subnormal: fraction * 2^-24 is exact in f32.
    float const magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
}

/// Round to nearest even; NaN stays a quiet NaN.
constexpr BFloat16 to_bf16(float x) {
    auto const bits = std::bit_cast<std::uint32_t>(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<std::uint16_t>((bits >> 16) | 0x40u)};
    return {static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

/// Round to nearest even, subnormals kept, overflow to infinity.
constexpr Half to_f16(float x) {
    auto const bits = std::bit_cast<std::uint32_t>(x);
    auto const sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
    std::uint32_t const magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return {static_cast<std::uint16_t>(sign | 0x7e00u)};
    if (magnitude >= 0x477ff000u) return {static_cast<std::uint16_t>(sign | 0x7c00u)};  // rounds to 65536 or more
    if (magnitude < 0x38800000u) {  // below 2^-14: adding 0.5 puts the half's subnormal fraction into the low mantissa bits
        auto const shifted = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f);
        return {static_cast<std::uint16_t>(sign | (shifted - 0x3f000000u))};
    }
    std::uint32_t const rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return {static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

}  // namespace samed
