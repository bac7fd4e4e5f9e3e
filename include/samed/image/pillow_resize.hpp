// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include <samed/core/macros.hpp>
#include <samed/image/rounding.hpp>

// Pillow's Image.resize(..., BILINEAR) on 8-bit images, bit for bit: a triangle filter that widens when shrinking (antialias),
// weights of 22 fractional bits, along the width first, rounded to 8 bits, then along the height. That is the order of Pillow 3
// to 12, which SAM and its kin were made with; Pillow 13 takes tall images the other way round and differs by one grey level.

namespace samed {

/// Size of one side when the longer of both becomes `longest`.
/// @source segment-anything's ResizeLongestSide
inline int longest_side(int side, int height, int width, int longest) {
    double const scale = longest * 1.0 / std::max(height, width);
    return static_cast<int>(rounded(side * scale) + 0.5);
}

namespace detail {

inline constexpr int pillow_bits = 22;

/// Weights an output sample may have.
inline int pillow_taps(int size, int resized) {
    double const scale = std::max(1.0, static_cast<double>(size) / resized);
    return static_cast<int>(std::ceil(scale)) * 2 + 1;
}

/// Fills [resized, 2 + taps]: first input sample, number of samples, their weights.
inline void pillow_weights(int size, int resized, std::int32_t* table) {
    double const scale = static_cast<double>(size) / resized;
    double const support = std::max(1.0, scale);
    double const inverse = 1.0 / support;
    int const taps = pillow_taps(size, resized);
    for (int i = 0; i < resized; ++i, table += 2 + taps) {
        double const center = rounded((i + 0.5) * scale);
        int const first = std::max(0, static_cast<int>(center - support + 0.5));
        int const count = std::min(size, static_cast<int>(center + support + 0.5)) - first;
        auto const triangle = [&](int k) { return std::max(0.0, 1.0 - std::fabs(rounded((k + first - center + 0.5) * inverse))); };
        double sum = 0.0;
        for (int k = 0; k < count; ++k) sum += triangle(k);
        table[0] = first;
        table[1] = count;
        for (int k = 0; k < count; ++k) {
            double const weight = sum != 0.0 ? triangle(k) / sum : triangle(k);
            table[2 + k] = static_cast<std::int32_t>(0.5 + weight * (1 << pillow_bits));
        }
    }
}

inline std::uint8_t pillow_round(std::int32_t sum) {
    return static_cast<std::uint8_t>(std::clamp(sum >> pillow_bits, 0, 255));
}

template <int Channels>
void pillow_horizontal(std::uint8_t const* in, int height, int width, std::int32_t const* table, int resized, std::uint8_t* out) {
    int const entry = 2 + pillow_taps(width, resized);
    for (int y = 0; y < height; ++y, in += static_cast<std::ptrdiff_t>(width) * Channels) {
        std::int32_t const* weights = table;
        for (int x = 0; x < resized; ++x, weights += entry, out += Channels) {
            std::uint8_t const* const from = in + static_cast<std::ptrdiff_t>(weights[0]) * Channels;
            std::int32_t sum[Channels];
            std::fill_n(sum, Channels, 1 << (pillow_bits - 1));
            for (int k = 0; k < weights[1]; ++k)
                for (int c = 0; c < Channels; ++c) sum[c] += from[k * Channels + c] * weights[2 + k];
            for (int c = 0; c < Channels; ++c) out[c] = pillow_round(sum[c]);
        }
    }
}

/// @param sums  [row_bytes]
inline void pillow_vertical(std::uint8_t const* in, int height, std::ptrdiff_t row_bytes, std::int32_t const* table, int resized,
                            std::int32_t* sums, std::uint8_t* out) {
    int const entry = 2 + pillow_taps(height, resized);
    for (int y = 0; y < resized; ++y, table += entry, out += row_bytes) {
        std::fill_n(sums, row_bytes, 1 << (pillow_bits - 1));
        for (int k = 0; k < table[1]; ++k) {
            std::uint8_t const* const from = in + (table[0] + k) * row_bytes;
            std::int32_t const weight = table[2 + k];
            for (std::ptrdiff_t i = 0; i < row_bytes; ++i) sums[i] += from[i] * weight;
        }
        for (std::ptrdiff_t i = 0; i < row_bytes; ++i) out[i] = pillow_round(sums[i]);
    }
}

}  // namespace detail

/// 32-bit words of scratch that `pillow_resize` needs: both weight tables, one row of sums, the image between the passes.
inline std::size_t pillow_resize_scratch(int height, int width, int channels, int resized_height, int resized_width) {
    auto const product = [](std::size_t a, int b) { return a * static_cast<std::size_t>(b); };
    std::size_t const row = product(static_cast<std::size_t>(resized_width), channels);
    return product(static_cast<std::size_t>(resized_width), 2 + detail::pillow_taps(width, resized_width)) +
           product(static_cast<std::size_t>(resized_height), 2 + detail::pillow_taps(height, resized_height)) + row +
           (product(row, height) + 3) / 4;
}

/// [H, W, channels] to [resized_height, resized_width, channels], u8, channels 1 or 3 and innermost.
/// @param scratch  at least pillow_resize_scratch(...) words
inline void pillow_resize(std::uint8_t const* in, int height, int width, int channels, int resized_height, int resized_width,
                          std::uint8_t* out, std::span<std::int32_t> scratch) {
    SAMED_ASSERT(height > 0 && width > 0 && resized_height > 0 && resized_width > 0 && (channels == 1 || channels == 3));
    SAMED_ASSERT(scratch.size() >= pillow_resize_scratch(height, width, channels, resized_height, resized_width));
    std::ptrdiff_t const row_bytes = static_cast<std::ptrdiff_t>(resized_width) * channels;
    std::int32_t* const columns = scratch.data();
    std::int32_t* const rows = columns + static_cast<std::ptrdiff_t>(resized_width) * (2 + detail::pillow_taps(width, resized_width));
    std::int32_t* const sums = rows + static_cast<std::ptrdiff_t>(resized_height) * (2 + detail::pillow_taps(height, resized_height));
    auto* const between = reinterpret_cast<std::uint8_t*>(sums + row_bytes);  // [H, resized_width, channels]

    bool const vertical = height != resized_height;
    if (width != resized_width) {
        detail::pillow_weights(width, resized_width, columns);
        auto const pass = channels == 1 ? detail::pillow_horizontal<1> : detail::pillow_horizontal<3>;
        pass(in, height, width, columns, resized_width, vertical ? between : out);
        in = between;
    } else if (!vertical) {
        std::memcpy(out, in, static_cast<std::size_t>(height) * static_cast<std::size_t>(row_bytes));
    }
    if (vertical) {
        detail::pillow_weights(height, resized_height, rows);
        detail::pillow_vertical(in, height, row_bytes, rows, resized_height, sums, out);
    }
}

}  // namespace samed
