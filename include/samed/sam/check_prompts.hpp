// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include <samed/core/result.hpp>
#include <samed/sam/prompts.hpp>

namespace samed {

/// @param height, width  of the image that the coordinates speak of
/// @param mask_side      4 * grid
/// @errors invalid_argument, out_of_range, not_finite, too_large, shape_mismatch, unsupported
inline Result<void> check_prompts(Prompts const& p, int height, int width, int mask_side, PromptLimits const& limits = {}) {
    std::size_t const points = p.points.size() + static_cast<std::size_t>(p.box ? limits.box_points : 0);
    if (points > limits.max_points)
        return fail(ErrorCode::too_large, "points",
                    text() << "at most " << limits.max_points << (limits.box_points ? ", a box counts for two" : ""), text() << points);
    int index = 0;
    for (Point const& point : p.points) {
        FixedText<96> const where = FixedText<96>("point ") << index++;
        if (!std::isfinite(point.x) || !std::isfinite(point.y)) return fail(ErrorCode::not_finite, where, "finite coordinates");
        if (point.x < 0 || point.y < 0 || point.x >= static_cast<float>(width) || point.y >= static_cast<float>(height))
            return fail(ErrorCode::out_of_range, where, text() << "inside the image of " << width << " x " << height << " pixels",
                        text() << static_cast<long>(point.x) << ", " << static_cast<long>(point.y))
                .advise("coordinates are x,y in pixels of the original image");
        if (point.label < -1 || point.label > 1)
            return fail(ErrorCode::invalid_argument, where, "label 1, 0 or -1", text() << point.label)
                .advise("1 = on the object, 0 = beside it, -1 = padding that says nothing");
    }
    if (p.box) {
        Box const& b = *p.box;
        if (!std::isfinite(b.x0) || !std::isfinite(b.y0) || !std::isfinite(b.x1) || !std::isfinite(b.y1))
            return fail(ErrorCode::not_finite, "box", "finite coordinates");
        if (b.x0 < 0 || b.y0 < 0 || b.x1 > static_cast<float>(width) || b.y1 > static_cast<float>(height))
            return fail(ErrorCode::out_of_range, "box", text() << "inside the image of " << width << " x " << height << " pixels")
                .advise("a box is x0,y0,x1,y1 in pixels of the original image");
        if (!(b.x0 < b.x1) || !(b.y0 < b.y1))
            return fail(ErrorCode::invalid_argument, "box", "x0 < x1 and y0 < y1", "a box without area")
                .advise("give the top left corner first; a spot is a point");
    }
    if (!p.mask.empty() && !limits.mask)
        return fail(ErrorCode::unsupported, "mask prompt", "points or a box", "a mask").advise("this system takes no mask prompt");
    if (!p.mask.empty() && p.mask.size() != std::size_t(mask_side) * mask_side)
        return fail(ErrorCode::shape_mismatch, "mask prompt", text() << mask_side << " x " << mask_side << " logits",
                    text() << p.mask.size() << " values")
            .advise("pass the low-res logits of an earlier call");
    for (float v : p.mask)
        if (!std::isfinite(v)) return fail(ErrorCode::not_finite, "mask prompt", "finite logits");
    return {};
}

}  // namespace samed
