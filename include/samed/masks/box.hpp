// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include <samed/core/view.hpp>

namespace samed::masks {

/// First and last column and row that a mask covers, both inclusive: SAM's boxes, one pixel short of the covered size.
struct PixelBox {
    int x0 = 0, y0 = 0, x1 = 0, y1 = 0;

    bool operator==(PixelBox const&) const = default;
};

/// All zeros for an empty mask.
/// @param mask  [h, w]
inline PixelBox bounding_box(ViewN<std::uint8_t const, 2> mask) {
    int const height = mask.size(0), width = mask.size(1);
    PixelBox box{width, height, -1, -1};
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x)
            if (mask(y, x) != 0) {
                box.x0 = std::min(box.x0, x);
                box.y0 = std::min(box.y0, y);
                box.x1 = std::max(box.x1, x);
                box.y1 = y;
            }
    return box.y1 < 0 ? PixelBox{} : box;
}

}  // namespace samed::masks
