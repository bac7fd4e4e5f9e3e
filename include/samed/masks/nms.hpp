// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
#include <vector>

#include <samed/masks/box.hpp>

namespace samed::masks {

/// Non-maximum suppression as torchvision's: by falling score, equal scores in their order, a box goes when its IoU with a kept one
/// is above the threshold. IoU in f32, and two boxes without area do not suppress each other.
/// @return indices of the kept boxes by falling score
/// @cost   O(n * kept)
inline std::vector<int> nms(std::span<PixelBox const> boxes, std::span<float const> scores, double threshold) {
    std::vector<int> order(boxes.size()), kept;
    std::iota(order.begin(), order.end(), 0);
    auto const score = [&](int i) { return scores[static_cast<std::size_t>(i)]; };
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
        if (std::isnan(score(b))) return false;  // NaN sorts first, as in PyTorch
        return std::isnan(score(a)) || score(a) > score(b);
    });
    auto const area = [](PixelBox const& b) { return static_cast<float>(b.x1 - b.x0) * static_cast<float>(b.y1 - b.y0); };
    auto const overlap = [&](PixelBox const& a, PixelBox const& b) {
        float const width = static_cast<float>(std::max(0, std::min(a.x1, b.x1) - std::max(a.x0, b.x0)));
        float const height = static_cast<float>(std::max(0, std::min(a.y1, b.y1) - std::max(a.y0, b.y0)));
        float const shared = width * height;
        return static_cast<double>(shared / (area(a) + area(b) - shared));
    };
    for (int i : order) {
        PixelBox const& box = boxes[static_cast<std::size_t>(i)];
        if (std::none_of(kept.begin(), kept.end(), [&](int k) { return overlap(boxes[static_cast<std::size_t>(k)], box) > threshold; }))
            kept.push_back(i);
    }
    return kept;
}

}  // namespace samed::masks
