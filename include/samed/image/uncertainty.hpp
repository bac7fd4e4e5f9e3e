// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include <samed/image/postprocess.hpp>
#include <samed/image/rounding.hpp>
#include <samed/image/spline_zoom.hpp>

namespace samed {

/// How sure the network is, pixel by pixel: softmax over the classes of the logits, which are upsampled bilinearly where the label of
/// the pixel was decided.
/// @param low_res  [M, l, l] logits of the decoder, background first
/// @param frame    placement of the image, with image_size the network's
/// @param entropy  [H, W] or null: entropy over its largest value log(M), 0 = sure, 1 = all classes alike
/// @param margin   [H, W] or null: probability of the first class less that of the second, 1 = sure
inline void uncertainty(ViewN<float const, 3> low_res, int image_size, Placement const& placement, float* entropy, float* margin) {
    int const classes = low_res.size(0), side = low_res.size(1), height = placement.input_height, width = placement.input_width;
    std::size_t const plane = std::size_t(side) * side;
    std::vector<double> p(static_cast<std::size_t>(classes));
    // The sample whose label the pixel has, by the arithmetic of label_zoom. Rounding may carry a last pixel's position behind the last
    // sample: its label is the 0 that SciPy fills with, which no logits decided; its figures are those of the last sample.
    double const row_step = detail::zoom_step(placement.resized_height, height);
    double const column_step = detail::zoom_step(placement.resized_width, width);
    auto const nearest = [](int i, double step) { return static_cast<int>(rounded(i * step) + 0.5); };
    for (int row = 0; row < height; ++row) {
        auto const y = detail::bilinear_tap(nearest(row, row_step), side, image_size);
        int const below = std::min(y.first + 1, side - 1);
        for (int column = 0; column < width; ++column) {
            auto const x = detail::bilinear_tap(nearest(column, column_step), side, image_size);
            int const right = std::min(x.first + 1, side - 1);
            double largest = -1e300;
            for (int k = 0; k < classes; ++k) {
                float const* const l = low_res.data + std::size_t(k) * plane;
                auto const at = [&](int r, int c) { return l[std::size_t(r) * side + c]; };
                float const top = detail::blend(at(y.first, x.first), at(y.first, right), x.weight);
                float const bottom = detail::blend(at(below, x.first), at(below, right), x.weight);
                p[static_cast<std::size_t>(k)] = double{detail::blend(top, bottom, y.weight)};
                largest = std::max(largest, p[static_cast<std::size_t>(k)]);
            }
            double sum = 0, first = 0, second = 0, h = 0;
            for (double& v : p) sum += v = std::exp(v - largest);
            for (double v : p) {
                v /= sum;
                if (v > first)
                    second = first, first = v;
                else
                    second = std::max(second, v);
                if (v > 0) h -= v * std::log(v);
            }
            if (entropy) *entropy++ = static_cast<float>(classes > 1 ? h / std::log(static_cast<double>(classes)) : 0);
            if (margin) *margin++ = static_cast<float>(first - second);
        }
    }
}

}  // namespace samed
