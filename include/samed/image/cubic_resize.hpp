// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include <samed/core/macros.hpp>
#include <samed/image/spline_zoom.hpp>

// scikit-image's resize(..., order=3, preserve_range=True, anti_aliasing=True) on 8-bit images, cut to 8 bits: a Gaussian where the image
// shrinks, then a cubic B-spline between pixel centres, both mirrored at the edges, and no value beyond the image's own range.

namespace samed {

namespace detail {

/// sigma = (shrink - 1) / 2, cut at four sigma.
inline int antialias_radius(int size, int resized) {
    double const sigma = std::max(0.0, (static_cast<double>(size) / resized - 1) / 2);
    return sigma > 1e-15 ? static_cast<int>(4 * sigma + 0.5) : 0;
}

/// Gaussian along one axis, in place: `lines` lines of `size` samples, sample i of line l at values[i * step + l * line_step].
/// @param scratch  [radius + 1 + size]
inline void antialias(double* values, int size, std::ptrdiff_t step, int lines, std::ptrdiff_t line_step, int resized, double* scratch) {
    int const radius = antialias_radius(size, resized);
    if (radius == 0) return;
    double const sigma = (static_cast<double>(size) / resized - 1) / 2;
    double* const weights = scratch;
    double* const line = scratch + radius + 1;
    double total = 0;
    for (int k = 0; k <= radius; ++k) {
        weights[k] = std::exp(-0.5 / (sigma * sigma) * k * k);
        total += k == 0 ? weights[k] : 2 * weights[k];
    }
    for (int k = 0; k <= radius; ++k) weights[k] /= total;
    for (int l = 0; l < lines; ++l) {
        double* const at = values + l * line_step;
        for (int i = 0; i < size; ++i) line[i] = at[i * step];
        for (int i = 0; i < size; ++i) {
            double sum = line[i] * weights[0];
            for (int k = radius; k >= 1; --k) sum += rounded((line[mirror(i - k, size)] + line[mirror(i + k, size)]) * weights[k]);
            at[i * step] = sum;
        }
    }
}

/// Position of output sample `index` among `size` samples, between 0 and size - 1.
inline double centre_position(int index, int size, int resized) {
    double const position = rounded((index + 0.5) * (static_cast<double>(size) / resized)) - 0.5;
    if (size == 1) return 0;
    return position < 0 ? -position : position > size - 1 ? 2.0 * (size - 1) - position : position;
}

}  // namespace detail

/// Doubles of scratch that `cubic_resize` needs.
inline std::size_t cubic_resize_scratch(int height, int width, int resized_height, int resized_width) {
    auto const h = static_cast<std::size_t>(height), w = static_cast<std::size_t>(width);
    int const radius = std::max(detail::antialias_radius(height, resized_height), detail::antialias_radius(width, resized_width));
    return h * w + 4 * w + static_cast<std::size_t>(radius) + 1 + std::max(h, w);
}

/// @param in   [height, width, channels]
/// @param out  [resized_height, resized_width, channels]
/// @source scikit-image, transform.resize; scipy.ndimage.gaussian_filter and zoom(grid_mode=True)
inline void cubic_resize(std::uint8_t const* in, int height, int width, int channels, int resized_height, int resized_width,
                         std::uint8_t* out, std::span<double> scratch) {
    SAMED_ASSERT(scratch.size() >= cubic_resize_scratch(height, width, resized_height, resized_width));
    std::ptrdiff_t const pixels = static_cast<std::ptrdiff_t>(height) * width;
    double* const coefficients = scratch.data();
    double* const rows = coefficients + pixels;  // [4, W]
    double* const spare = rows + 4 * static_cast<std::ptrdiff_t>(width);
    auto const [darkest, brightest] = std::minmax_element(in, in + pixels * channels);
    double const low = *darkest, high = *brightest;
    for (int c = 0; c < channels; ++c) {
        for (std::ptrdiff_t i = 0; i < pixels; ++i) coefficients[i] = in[i * channels + c];
        detail::antialias(coefficients, height, width, width, 1, resized_height, spare);
        detail::antialias(coefficients, width, 1, height, width, resized_width, spare);
        detail::spline_prefilter(coefficients, height, width, width, 1);
        for (int y = 0; y < height; ++y)
            detail::spline_prefilter(coefficients + static_cast<std::ptrdiff_t>(y) * width, width, 1, 1, width);
        for (int y = 0; y < resized_height; ++y) {
            double const row = detail::centre_position(y, height, resized_height);
            double row_weights[4];
            detail::spline_weights(row, row_weights);
            for (int a = 0; a < 4; ++a) {
                int const tap = detail::mirror(static_cast<int>(std::floor(row)) - 1 + a, height);
                double const* const from = coefficients + static_cast<std::ptrdiff_t>(tap) * width;
                for (int x = 0; x < width; ++x) rows[a * width + x] = from[x] * row_weights[a];
            }
            for (int x = 0; x < resized_width; ++x) {
                double const column = detail::centre_position(x, width, resized_width);
                double weights[4], sum = 0;
                detail::spline_weights(column, weights);
                int taps[4];
                for (int b = 0; b < 4; ++b) taps[b] = detail::mirror(static_cast<int>(std::floor(column)) - 1 + b, width);
                for (int a = 0; a < 4; ++a)
                    for (int b = 0; b < 4; ++b) sum += rounded(rows[a * width + taps[b]] * weights[b]);
                constexpr double rounding = 1e-9;  // a whole number that sums missed by a last bit stays one
                out[(static_cast<std::ptrdiff_t>(y) * resized_width + x) * channels + c] =
                    static_cast<std::uint8_t>(std::clamp(sum, low, high) + rounding);
            }
        }
    }
}

}  // namespace samed
