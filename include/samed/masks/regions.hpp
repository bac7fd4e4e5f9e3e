// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace samed::masks {

enum class Region {
    hole,    ///< background that the mask encloses or touches: becomes mask
    island,  ///< a part of the mask: becomes background
};

/// 8-connected regions of one value. Keeps its memory for masks of sizes seen before.
class RegionLabels {
public:
    /// @param mask   [height, width] of 0 and 1
    /// @param value  which pixels form the regions
    void label(std::uint8_t const* mask, int height, int width, std::uint8_t value) {
        std::size_t const pixels = static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
        labels_.assign(pixels, -1);
        parents_.clear();
        for (std::ptrdiff_t y = 0; y < height; ++y)
            for (std::ptrdiff_t x = 0; x < width; ++x) {
                std::ptrdiff_t const at = y * width + x;
                if (mask[at] != value) continue;
                std::int32_t mine = -1;
                auto const touch = [&](std::ptrdiff_t neighbour) {
                    std::int32_t const other = labels_[static_cast<std::size_t>(neighbour)];
                    if (other >= 0) mine = mine < 0 ? root(other) : join(mine, other);
                };
                if (x > 0) touch(at - 1);
                if (y > 0) {
                    if (x > 0) touch(at - width - 1);
                    touch(at - width);
                    if (x + 1 < width) touch(at - width + 1);
                }
                if (mine < 0) {
                    mine = static_cast<std::int32_t>(parents_.size());
                    parents_.push_back(mine);
                }
                labels_[static_cast<std::size_t>(at)] = mine;
            }
        areas_.assign(parents_.size(), 0);
        for (std::int32_t& l : labels_)
            if (l >= 0) ++areas_[static_cast<std::size_t>(l = root(l))];
    }

    /// Label of each pixel, -1 = another value. Labels are not dense; one that is a region has an area above 0.
    std::vector<std::int32_t> const& labels() const { return labels_; }
    std::vector<std::int64_t> const& areas() const { return areas_; }

private:
    std::int32_t root(std::int32_t l) {
        while (parents_[static_cast<std::size_t>(l)] != l) {
            std::int32_t& parent = parents_[static_cast<std::size_t>(l)];
            parent = parents_[static_cast<std::size_t>(parent)];
            l = parent;
        }
        return l;
    }
    /// The older label stays, so that a region's label is its first pixel's.
    std::int32_t join(std::int32_t a, std::int32_t b) {
        a = root(a);
        b = root(b);
        std::int32_t const older = std::min(a, b);
        parents_[static_cast<std::size_t>(std::max(a, b))] = older;
        return older;
    }

    std::vector<std::int32_t> labels_, parents_;
    std::vector<std::int64_t> areas_;
};

/// Fills small holes or removes small islands; where all islands are small the largest stays.
/// @param mask  [height, width] of 0 and 1, in and out
/// @return whether there were any
inline bool remove_small_regions(std::uint8_t* mask, int height, int width, std::int64_t min_area, Region kind, RegionLabels& regions) {
    std::uint8_t const value = kind == Region::island;
    regions.label(mask, height, width, value);
    auto const& areas = regions.areas();
    auto const is_small = [&](std::int64_t area) { return area > 0 && area < min_area; };
    if (std::none_of(areas.begin(), areas.end(), is_small)) return false;
    std::int64_t keep = -1;
    if (kind == Region::island && std::all_of(areas.begin(), areas.end(), [&](std::int64_t a) { return a < min_area; }))
        keep = std::max_element(areas.begin(), areas.end()) - areas.begin();
    for (std::size_t i = 0; i < regions.labels().size(); ++i) {
        std::int32_t const l = regions.labels()[i];
        if (l >= 0 && l != keep && is_small(areas[static_cast<std::size_t>(l)])) mask[i] = static_cast<std::uint8_t>(1 - value);
    }
    return true;
}

}  // namespace samed::masks
