// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <vector>

#include <samed/image/rounding.hpp>
#include <samed/masks/box.hpp>

namespace samed::masks {

/// x and y in [0, 1] of the image or crop.
using GridPoint = std::array<double, 2>;

/// Centres of n x n cells, row by row, to numpy's last bit.
inline std::vector<GridPoint> point_grid(int n) {
    std::vector<double> side(static_cast<std::size_t>(n));
    double const first = 1.0 / (2.0 * n), last = 1.0 - first, step = n > 1 ? (last - first) / (n - 1) : 0;
    for (int i = 0; i < n; ++i) side[static_cast<std::size_t>(i)] = rounded(i * step) + first;
    if (n > 1) side.back() = last;
    std::vector<GridPoint> points;
    points.reserve(side.size() * side.size());
    for (double y : side)
        for (double x : side) points.push_back({x, y});
    return points;
}

/// A part of the image that gets an embedding and a point grid of its own. The corner x1, y1 is exclusive.
struct Crop {
    int x0 = 0, y0 = 0, x1 = 0, y1 = 0, layer = 0;

    int width() const { return x1 - x0; }
    int height() const { return y1 - y0; }
};

/// The whole image, then for layer i = 1.. its 2^i x 2^i overlapping crops, x outermost.
/// @param overlap_ratio  of the short side, for two crops a side; finer layers overlap less
inline std::vector<Crop> crop_boxes(int height, int width, int layers, double overlap_ratio) {
    std::vector<Crop> crops{{0, 0, width, height, 0}};
    for (int layer = 1; layer <= layers; ++layer) {
        int const n = 1 << layer;
        int const overlap = static_cast<int>(overlap_ratio * std::min(height, width) * (2.0 / n));
        auto const length = [&](int whole) { return static_cast<int>(std::ceil((static_cast<double>(overlap) * (n - 1) + whole) / n)); };
        int const w = length(width), h = length(height);
        for (int i = 0; i < n; ++i)
            for (int k = 0; k < n; ++k) {
                int const x0 = (w - overlap) * i, y0 = (h - overlap) * k;
                crops.push_back({x0, y0, std::min(x0 + w, width), std::min(y0 + h, height), layer});
            }
    }
    return crops;
}

/// A mask that ends within 20 pixels of a crop's edge is probably cut off by it, unless the image ends there too.
/// @param box  in pixels of the crop
inline bool touches_crop_edge(PixelBox const& box, Crop const& crop, int image_height, int image_width) {
    constexpr int near = 20;
    int const sides[4] = {box.x0 + crop.x0, box.y0 + crop.y0, box.x1 + crop.x0, box.y1 + crop.y0};
    int const crop_sides[4] = {crop.x0, crop.y0, crop.x1, crop.y1}, image_sides[4] = {0, 0, image_width, image_height};
    for (int i = 0; i < 4; ++i)
        if (std::abs(sides[i] - crop_sides[i]) <= near && std::abs(sides[i] - image_sides[i]) > near) return true;
    return false;
}

}  // namespace samed::masks
