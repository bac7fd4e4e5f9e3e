// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <span>

namespace samed {

/// A click, in pixels of whatever image the call speaks of; the pixel's centre is at +0.5.
struct Point {
    float x = 0, y = 0;
    int label = 1;  ///< 1 = on the object, 0 = beside it, -1 = padding that says nothing
};

/// Corners in pixels, x0 <= x1 and y0 <= y1.
struct Box {
    float x0 = 0, y0 = 0, x1 = 0, y1 = 0;
};

/// What the user says about the object. All empty is SAMed's case: the model labels the image by itself.
struct Prompts {
    std::span<Point const> points{};
    std::optional<Box> box{};
    std::span<float const> mask{};  ///< logits [4 grid, 4 grid] of an earlier call, or empty

    bool empty() const { return points.empty() && !box && mask.empty(); }

    /// Tokens that the points and the box become: SAM appends one padding point when there is no box.
    int tokens() const { return static_cast<int>(points.size()) + (box ? 2 : (points.empty() ? 0 : 1)); }
};

/// What a prompt encoder takes.
struct PromptLimits {
    std::size_t max_points = 4096;
    int box_points = 0;  ///< of these points that a box takes up
    bool mask = true;
};

}  // namespace samed
