// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace samed::kernels {

/// A row of 256 levels: x ~ scale * (u - zero), u in 0..255. The range always holds zero.
struct RowLevels {
    float scale = 0;
    int zero = 0;
};

/// A row whose values span less is all zeros.
inline constexpr float smallest_range = 1e-30f;

/// 1.5 * 2^23: an integer below 2^22 added to it stands in the low bits of the sum, rounded to nearest even.
inline constexpr float rounding_shift = 12582912.0f;

namespace reference {

/// @param x       [k]
/// @param levels  [k]
inline RowLevels quantise_row(float const* x, int k, std::uint8_t* levels) {
    float low = 0, high = 0;
    for (int p = 0; p < k; ++p) {
        high = high > x[p] ? high : x[p];
        low = low > x[p] ? x[p] : low;
    }
    float const range = high - low;
    bool const some = range >= smallest_range;
    RowLevels row;
    row.scale = some ? range / 255.0f : 0.0f;
    float const inverse = some ? 255.0f / range : 0.0f;
    row.zero = static_cast<int>(std::bit_cast<std::uint32_t>(std::fma(-low, inverse, rounding_shift)) & 0xff);
    float const shift = rounding_shift + static_cast<float>(row.zero);
    for (int p = 0; p < k; ++p) {
        float t = std::fma(x[p], inverse, shift);
        t = t > rounding_shift ? t : rounding_shift;
        t = t > rounding_shift + 255.0f ? rounding_shift + 255.0f : t;
        levels[p] = static_cast<std::uint8_t>(std::bit_cast<std::uint32_t>(t));
    }
    return row;
}

/// One output channel's weights, w ~ scale * q, q in -127..127.
/// @return the scale
inline float quantise_channel(float const* w, int k, std::int8_t* q) {
    float largest = 0;
    for (int p = 0; p < k; ++p) largest = std::fabs(w[p]) > largest ? std::fabs(w[p]) : largest;
    bool const some = largest >= smallest_range;
    float const inverse = some ? 127.0f / largest : 0.0f;
    for (int p = 0; p < k; ++p) q[p] = static_cast<std::int8_t>(std::bit_cast<std::uint32_t>(std::fma(w[p], inverse, rounding_shift)));
    return some ? largest / 127.0f : 0.0f;
}

}  // namespace reference
}  // namespace samed::kernels
