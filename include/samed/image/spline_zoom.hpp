// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include <samed/core/macros.hpp>
#include <samed/core/view.hpp>
#include <samed/image/image.hpp>
#include <samed/image/rounding.hpp>

// scipy.ndimage.zoom as SAMed calls it: mode 'constant', cval 0, grid_mode off, order 3 with prefilter for images and order 0
// for labels. Corners of input and output coincide: output k samples position k * (n_in - 1) / (n_out - 1), and a position that
// rounding puts behind the last sample yields 0. So 512 -> 224 has a zero last row and column, and the networks were trained so.

namespace samed {

/// Size that zoom by `factor` gives: round half to even.
inline int zoomed_size(int size, double factor) {
    return static_cast<int>(std::nearbyint(size * factor));
}

namespace detail {

/// Distance between samples along one axis.
inline double zoom_step(int size, int zoomed) {
    return zoomed > 1 ? static_cast<double>(size - 1) / (zoomed - 1) : 1.0;
}

/// Index of a tap that may lie outside, mirrored about the edge samples.
inline int mirror(int i, int size) {
    if (size == 1) return 0;
    int const period = 2 * size - 2;
    i = (i < 0 ? -i : i) % period;
    return i < size ? i : period - i;
}

/// Weights of the cubic B-spline for the taps at floor(position) - 1 .. + 2.
inline void spline_weights(double position, double* weights) {
    double const y = position - std::floor(position);
    double const z = 1.0 - y;
    weights[1] = (rounded(y * y * (y - 2.0) * 3.0) + 4.0) / 6.0;
    weights[2] = (rounded(z * z * (z - 2.0) * 3.0) + 4.0) / 6.0;
    weights[0] = z * z * z / 6.0;
    weights[3] = 1.0 - weights[0] - weights[1] - weights[2];
}

/// Samples to coefficients along one axis, in place: `lines` lines of `size` samples, sample i of line l at
/// c[i * step + l * line_step]. The pole is sqrt(3) - 2, both ends mirror.
/// @source Unser, Aldroubi, Eden 1991, "Fast B-spline transforms", eqs. 2.4 to 2.7 with the exact mirrored start
inline void spline_prefilter(double* c, int size, std::ptrdiff_t step, int lines, std::ptrdiff_t line_step) {
    if (size == 1) return;
    constexpr double z = -0.267949192431122706472553658494127633;
    constexpr double gain = (1.0 - z) * (1.0 - 1.0 / z);
    auto const at = [=](int i) { return c + i * step; };
    for (int i = 0; i < size; ++i)
        for (std::ptrdiff_t l = 0; l < lines; ++l) at(i)[l * line_step] *= gain;

    double z_last = 1.0;  // z^(size - 1)
    for (int i = 1; i < size; ++i) z_last *= z;
    for (std::ptrdiff_t l = 0; l < lines; ++l) at(0)[l * line_step] += rounded(z_last * at(size - 1)[l * line_step]);
    double z_i = z;
    for (int i = 1; i < size - 1 && std::fabs(z_i) > 1e-300; ++i, z_i *= z)  // what is left out is below every f32
        for (std::ptrdiff_t l = 0; l < lines; ++l) {
            double const both = at(i)[l * line_step] + rounded(z_last * at(size - 1 - i)[l * line_step]);
            at(0)[l * line_step] += rounded(z_i * both);
        }
    double const scale = 1.0 - rounded(z_last * z_last);
    for (std::ptrdiff_t l = 0; l < lines; ++l) at(0)[l * line_step] /= scale;

    for (int i = 1; i < size; ++i)
        for (std::ptrdiff_t l = 0; l < lines; ++l) at(i)[l * line_step] += rounded(z * at(i - 1)[l * line_step]);
    for (std::ptrdiff_t l = 0; l < lines; ++l) {
        double& last = at(size - 1)[l * line_step];
        last = (rounded(z * at(size - 2)[l * line_step]) + last) * z / (z * z - 1.0);
    }
    for (int i = size - 2; i >= 0; --i)
        for (std::ptrdiff_t l = 0; l < lines; ++l) at(i)[l * line_step] = z * (at(i + 1)[l * line_step] - at(i)[l * line_step]);
}

}  // namespace detail

/// Doubles of scratch that `spline_zoom` needs: coefficients, four weighted rows with mirrored ends, taps of every column.
constexpr std::size_t spline_zoom_scratch(int height, int width, int zoomed_width) {
    auto const w = static_cast<std::size_t>(width);
    return static_cast<std::size_t>(height) * w + 4 * (w + 3) + 5 * static_cast<std::size_t>(zoomed_width);
}

/// Order-3 zoom of one channel to [zoomed_height, zoomed_width], contiguous f32 out. Arithmetic is double, in SciPy's order of
/// operations. Equal sizes copy the values, as SciPy does.
/// @param scratch  at least spline_zoom_scratch(height, width, zoomed_width) doubles
template <class T>
void spline_zoom(ImageView<T> image, int channel, int zoomed_height, int zoomed_width, float* out, std::span<double> scratch) {
    int const height = image.height, width = image.width;
    SAMED_ASSERT(height > 0 && width > 0 && zoomed_height > 0 && zoomed_width > 0);
    SAMED_ASSERT(scratch.size() >= spline_zoom_scratch(height, width, zoomed_width));
    if (height == zoomed_height && width == zoomed_width) {
        for (int y = 0; y < height; ++y)
            for (int x = 0; x < width; ++x) *out++ = static_cast<float>(image(y, x, channel));
        return;
    }

    double* const coefficients = scratch.data();  // [H, W]
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x)
            coefficients[static_cast<std::ptrdiff_t>(y) * width + x] = static_cast<double>(image(y, x, channel));
    detail::spline_prefilter(coefficients, height, width, width, 1);
    constexpr int rows_at_once = 8;  // independent recurrences hide each other's latency
    for (int y = 0; y < height; y += rows_at_once)
        detail::spline_prefilter(coefficients + static_cast<std::ptrdiff_t>(y) * width, width, 1, std::min(rows_at_once, height - y),
                                 width);

    std::ptrdiff_t const padded = width + 3;
    double* const rows = coefficients + static_cast<std::ptrdiff_t>(height) * width;  // [4, W + 3]: one mirrored left, two right
    double* const starts = rows + 4 * padded;                                         // [zoomed_width]: first tap, < 0 = outside
    double* const column_weights = starts + zoomed_width;                             // [zoomed_width, 4]
    double const column_step = detail::zoom_step(width, zoomed_width), row_step = detail::zoom_step(height, zoomed_height);
    for (int x = 0; x < zoomed_width; ++x) {
        double const position = rounded(x * column_step);
        starts[x] = position > width - 1 ? -1.0 : std::floor(position);
        detail::spline_weights(position, column_weights + 4 * static_cast<std::ptrdiff_t>(x));
    }

    for (int y = 0; y < zoomed_height; ++y, out += zoomed_width) {
        double const position = rounded(y * row_step);
        if (position > height - 1) {
            std::fill_n(out, zoomed_width, 0.0f);
            continue;
        }
        double row_weights[4];
        detail::spline_weights(position, row_weights);
        for (int a = 0; a < 4; ++a) {
            int const tap = detail::mirror(static_cast<int>(std::floor(position)) - 1 + a, height);
            double const* const from = coefficients + static_cast<std::ptrdiff_t>(tap) * width;
            double* const row = rows + a * padded + 1;
            double const weight = row_weights[a];
            for (int x = 0; x < width; ++x) row[x] = from[x] * weight;
            for (int x : {-1, width, width + 1}) row[x] = row[detail::mirror(x, width)];
        }
        for (int x = 0; x < zoomed_width; ++x) {
            if (starts[x] < 0) {
                out[x] = 0.0f;
                continue;
            }
            double const* const taps = rows + static_cast<std::ptrdiff_t>(starts[x]);
            double const* const weight = column_weights + 4 * static_cast<std::ptrdiff_t>(x);
            double sum = 0.0;
            for (int a = 0; a < 4; ++a)
                for (int b = 0; b < 4; ++b) sum += rounded(taps[a * padded + b] * weight[b]);
            out[x] = static_cast<float>(sum);
        }
    }
}

/// Order-0 zoom: the label nearest to each sample position, halves upwards; 0 behind the last sample, as above.
inline void label_zoom(ImageView<std::uint8_t const> labels, LabelMap out) {
    int const height = labels.height, width = labels.width;
    SAMED_ASSERT(height > 0 && width > 0);
    double const row_step = detail::zoom_step(height, out.size(0)), column_step = detail::zoom_step(width, out.size(1));
    std::uint8_t* to = out.data;
    for (int y = 0; y < out.size(0); ++y, to += out.size(1)) {
        double const row = rounded(y * row_step);
        if (row > height - 1) {
            std::fill_n(to, out.size(1), std::uint8_t{0});
            continue;
        }
        int const from = static_cast<int>(row + 0.5);
        for (int x = 0; x < out.size(1); ++x) {
            double const column = rounded(x * column_step);
            to[x] = column > width - 1 ? std::uint8_t{0} : labels(from, static_cast<int>(column + 0.5));
        }
    }
}

}  // namespace samed
