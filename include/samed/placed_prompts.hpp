// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include <samed/image/preprocess.hpp>
#include <samed/sam/prompts.hpp>

namespace samed {

/// Prompts moved from the image's pixels to those of the network's input.
class PlacedPrompts {
public:
    PlacedPrompts() = default;
    PlacedPrompts(Prompts const& prompts, Placement const& p) : prompts_(prompts), points_(prompts.points.begin(), prompts.points.end()) {
        for (Point& point : points_) point = {p.to_model_x(point.x), p.to_model_y(point.y), point.label};
        if (auto const& b = prompts.box)
            prompts_.box = Box{p.to_model_x(b->x0), p.to_model_y(b->y0), p.to_model_x(b->x1), p.to_model_y(b->y1)};
    }

    /// Valid as long as this is.
    Prompts prompts() const {
        Prompts p = prompts_;
        p.points = points_;
        return p;
    }

private:
    Prompts prompts_;
    std::vector<Point> points_;
};

}  // namespace samed
