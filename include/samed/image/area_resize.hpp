// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include <samed/core/macros.hpp>
#include <samed/image/rounding.hpp>

// OpenCV's resize(..., INTER_AREA) on 8-bit images: each pixel is the mean of the area that it covers; an image that grows along a side
// is interpolated between two samples with OpenCV's weights for this flag. Sums are double; OpenCV's are f32 or fixed point, hence at
// most one grey level apart.

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
    AreaSpan s;
    if (size <= resized) {  // between two samples
        s.first = static_cast<int>(std::floor(index * scale));
        double const position = (index + 1) - rounded((s.first + 1) / scale);
        s.tail = position <= 0 ? 0 : position - std::floor(position);
        s.head = 1 - s.tail;
        s.count = s.first + 1 < size && s.tail > 0 ? 2 : 1;
        if (s.count == 1) s.head = 1;
        return s;
    }
    double const from = index * scale, to = std::min(rounded((index + 1) * scale), static_cast<double>(size)), area = to - from;
    constexpr double crumb = 1e-3;  // shares below it are rounding
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
