// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <samed/core/view.hpp>

namespace samed {

/// What a cleaning step changed.
struct CleaningReport {
    std::uint64_t components = 0;  ///< removed parts, or filled holes
    std::uint64_t voxels = 0;
};

namespace detail {

/// Regions of one label, joined through faces, in the order of their first voxels: `take(label, voxels, reaches the border)`.
/// @cost linear; a bit a voxel and 8 bytes a voxel of the largest region
template <class Wanted, class Take>
void for_each_region(ViewN<std::uint8_t, 3> labels, Wanted&& wanted, Take&& take) {
    int const size[3] = {labels.size(2), labels.size(1), labels.size(0)};
    std::size_t const step[3] = {1, std::size_t(size[0]), std::size_t(size[0]) * std::size_t(size[1])}, count = labels.count();
    std::vector<bool> seen(count);
    std::vector<std::size_t> region;
    for (std::size_t start = 0; start < count; ++start) {
        if (seen[start] || !wanted(labels.data[start])) continue;
        std::uint8_t const label = labels.data[start];
        region.assign(1, start);
        seen[start] = true;
        bool open = false;  // reaches the border of the volume
        for (std::size_t at = 0; at < region.size(); ++at) {
            std::size_t const voxel = region[at];
            std::size_t const place[3] = {voxel % step[1], voxel / step[1] % std::size_t(size[1]), voxel / step[2]};
            for (std::size_t axis = 0; axis < 3; ++axis)
                for (bool up : {false, true}) {
                    if (up ? place[axis] + 1 == std::size_t(size[axis]) : place[axis] == 0) {
                        open = true;
                        continue;
                    }
                    std::size_t const next = up ? voxel + step[axis] : voxel - step[axis];
                    if (seen[next] || labels.data[next] != label) continue;
                    seen[next] = true;
                    region.push_back(next);
                }
        }
        take(label, region, open);
    }
}

}  // namespace detail

/// Every label keeps its largest part (joined through faces; of equals the first); the others become background.
/// @param labels  [z, y, x]
inline CleaningReport keep_largest_components(ViewN<std::uint8_t, 3> labels) {
    std::vector<std::vector<std::size_t>> kept(256);
    CleaningReport report;
    auto const clear = [&](std::vector<std::size_t> const& region) {
        ++report.components;
        report.voxels += region.size();
        for (std::size_t voxel : region) labels.data[voxel] = 0;
    };
    detail::for_each_region(
        labels, [](std::uint8_t label) { return label != 0; },
        [&](std::uint8_t label, std::vector<std::size_t> const& region, bool) {
            auto& best = kept[label];
            if (region.size() <= best.size()) return clear(region);
            if (!best.empty()) clear(best);
            best = region;
        });
    return report;
}

/// Background that one label encloses, on all sides through faces, becomes that label. Holes between several labels stay.
/// @param labels  [z, y, x]
inline CleaningReport fill_holes(ViewN<std::uint8_t, 3> labels) {
    CleaningReport report;
    std::size_t const width = std::size_t(labels.size(2)), plane = width * std::size_t(labels.size(1));
    detail::for_each_region(
        labels, [](std::uint8_t label) { return label == 0; },
        [&](std::uint8_t, std::vector<std::size_t> const& region, bool open) {
            if (open) return;  // every neighbour below exists
            std::uint8_t around = 0;
            for (std::size_t voxel : region)
                for (std::size_t step : {std::size_t{1}, width, plane})
                    for (std::size_t next : {voxel - step, voxel + step}) {
                        std::uint8_t const label = labels.data[next];
                        if (label == 0) continue;
                        if (around != 0 && label != around) return;
                        around = label;
                    }
            ++report.components;
            report.voxels += region.size();
            for (std::size_t voxel : region) labels.data[voxel] = around;
        });
    return report;
}

}  // namespace samed
