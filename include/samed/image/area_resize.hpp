// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include <samed/core/macros.hpp>
#include <samed/image/rounding.hpp>

// OpenCV's resize(..., INTER_AREA) on 8-bit images: each pixel is the mean of the area that it covers. An image that grows along one
// side at least is interpolated between two samples along both, with OpenCV's weights for this flag and in its fixed point, to the same
// bytes; sums of areas are double where OpenCV's are f32, hence at most one grey level apart.

namespace samed {

namespace detail {

/// Samples first .. first + count - 1 with these shares of the total.
struct AreaSpan {
    int first = 0, count = 0;
    double head = 1, middle = 1, tail = 1;

    double weight(int k) const { return k == 0 ? head : k + 1 == count ? tail : middle; }
};

inline AreaSpan area_span(int index, int size, int resized) {
    double const scale = static_cast<double>(size) / resized;
    double const from = index * scale, to = std::min(rounded((index + 1) * scale), static_cast<double>(size)), area = to - from;
    constexpr double crumb = 1e-3;  // shares below it are rounding
    AreaSpan s;
    s.first = static_cast<int>(from);
    int last = static_cast<int>(std::ceil(to)) - 1;
    if (s.first + 1 - from < crumb) ++s.first;
    if (to - last < crumb) --last;
    s.count = last - s.first + 1;
    s.middle = 1 / area;
    s.head = (s.first + 1 - std::max(from, static_cast<double>(s.first))) / area;
    s.tail = (to - last) / area;
    if (s.count == 1) s.head = 1;
    return s;
}

/// Two neighbours and their weights in 1/2048.
struct AreaPair {
    int first = 0, second = 0, weight_first = 0, weight_second = 0;
};

inline AreaPair area_pair(int index, int size, int resized) {
    double const scale = static_cast<double>(size) / resized, inverse = static_cast<double>(resized) / size;
    AreaPair p;
    p.first = std::min(static_cast<int>(std::floor(index * scale)), size - 1);
    p.second = std::min(p.first + 1, size - 1);
    auto part = static_cast<float>((index + 1) - rounded((p.first + 1) * inverse));
    part = part <= 0 || p.first == size - 1 ? 0 : part - std::floor(part);
    p.weight_first = static_cast<int>(std::lrint((1 - part) * 2048));
    p.weight_second = static_cast<int>(std::lrint(part * 2048));
    return p;
}

inline void area_grow(std::uint8_t const* in, int height, int width, int channels, int resized_height, int resized_width, std::uint8_t* out) {
    std::ptrdiff_t const row = static_cast<std::ptrdiff_t>(width) * channels;
    for (int y = 0; y < resized_height; ++y) {
        AreaPair const down = area_pair(y, height, resized_height);
        for (int x = 0; x < resized_width; ++x) {
            AreaPair const along = area_pair(x, width, resized_width);
            for (int c = 0; c < channels; ++c) {
                auto between = [&](int of_row) {
                    std::uint8_t const* const from = in + of_row * row + c;
                    return (from[along.first * channels] * along.weight_first + from[along.second * channels] * along.weight_second) >> 4;
                };
                int const upper = (down.weight_first * between(down.first)) >> 16, lower = (down.weight_second * between(down.second)) >> 16;
                *out++ = static_cast<std::uint8_t>((upper + lower + 2) >> 2);
            }
        }
    }
}

}  // namespace detail

/// @param in   [height, width, channels]
/// @param out  [resized_height, resized_width, channels]
/// @param sums [width * channels] scratch
/// @source OpenCV, imgproc, INTER_AREA
inline void area_resize(std::uint8_t const* in, int height, int width, int channels, int resized_height, int resized_width,
                        std::uint8_t* out, std::span<double> sums) {
    SAMED_ASSERT(sums.size() >= static_cast<std::size_t>(width) * static_cast<std::size_t>(channels));
    std::ptrdiff_t const row = static_cast<std::ptrdiff_t>(width) * channels;
    if (height == resized_height && width == resized_width) {
        std::copy_n(in, height * row, out);
        return;
    }
    if (resized_height > height || resized_width > width) {
        detail::area_grow(in, height, width, channels, resized_height, resized_width, out);
        return;
    }
    bool const halved = height == 2 * resized_height && width == 2 * resized_width;  // OpenCV rounds halves upwards there, else to even
    for (int y = 0; y < resized_height; ++y) {
        detail::AreaSpan const down = detail::area_span(y, height, resized_height);
        std::fill_n(sums.begin(), row, 0.0);
        for (int k = 0; k < down.count; ++k) {
            std::uint8_t const* const from = in + (down.first + k) * row;
            double const weight = down.weight(k);
            for (std::ptrdiff_t i = 0; i < row; ++i) sums[static_cast<std::size_t>(i)] += rounded(weight * from[i]);
        }
        for (int x = 0; x < resized_width; ++x) {
            detail::AreaSpan const along = detail::area_span(x, width, resized_width);
            for (int c = 0; c < channels; ++c) {
                double sum = 0;
                for (int k = 0; k < along.count; ++k)
                    sum += rounded(along.weight(k) * sums[static_cast<std::size_t>((along.first + k) * channels + c)]);
                double const whole = halved ? std::floor(sum + 0.5) : std::nearbyint(sum);
                *out++ = static_cast<std::uint8_t>(std::clamp(whole, 0.0, 255.0));
            }
        }
    }
}

}  // namespace samed
