// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include <samed/core/result.hpp>
#include <samed/core/view.hpp>

namespace samed {

/// Sizes, intensities, boxes and components of every label, plane by plane, so that a volume need not be in memory.
/// @cost linear in the voxels; memory of two planes
class LabelStatistics {
public:
    struct Row {
        std::uint64_t voxels = 0;
        double volume_ml = 0, mean = 0, sd = 0;  ///< of the intensities; sd over all voxels, not a sample
        std::array<int, 3> first{}, last{};      ///< corners of the box along x, y, z, both inside
        std::uint64_t components = 0;            ///< parts that are joined through faces (SciPy's default)
    };

    /// The next plane. @param values, labels  [y, x], the same sizes in every call
    void add(ViewN<float const, 2> values, ViewN<std::uint8_t const, 2> labels) {
        int const height = labels.size(0), width = labels.size(1);
        SAMED_ASSERT(values.size(0) == height && values.size(1) == width);
        std::vector<std::uint8_t> before(std::move(labels_));
        std::vector<std::uint32_t> parts_before(std::move(parts_));
        labels_.assign(labels.begin(), labels.end());
        parts_.assign(labels_.size(), 0);
        bool const above = before.size() == labels_.size();
        for (int y = 0; y < height; ++y)
            for (int x = 0; x < width; ++x) {
                std::size_t const i = std::size_t(y) * width + x;
                std::uint8_t const label = labels_[i];
                if (label == 0) continue;
                count(label, double{values.data[i]}, x, y);
                std::uint32_t part = none;
                if (x > 0 && labels_[i - 1] == label) part = parts_[i - 1];
                if (y > 0 && labels_[i - std::size_t(width)] == label) part = join(part, parts_[i - std::size_t(width)], label);
                if (above && before[i] == label) part = join(part, parts_before[i], label);
                if (part == none) {
                    part = static_cast<std::uint32_t>(parents_.size());
                    parents_.push_back(part);
                    ++sums_[label].components;
                }
                parts_[i] = part;
            }
        renumber();
        ++planes_;
    }

    /// @param spacing_mm  edges of a voxel
    /// @return by label, 0 to 255; row 0 stays empty
    std::vector<Row> rows(std::array<double, 3> const& spacing_mm) const {
        std::vector<Row> out(256);
        double const ml = spacing_mm[0] * spacing_mm[1] * spacing_mm[2] / 1000;
        for (std::size_t k = 1; k < 256; ++k) {
            Sum const& s = sums_[k];
            Row& r = out[k];
            r.voxels = s.voxels;
            r.volume_ml = static_cast<double>(s.voxels) * ml;
            r.components = s.components;
            if (s.voxels == 0) continue;
            r.mean = s.mean;
            r.sd = std::sqrt(s.squares / static_cast<double>(s.voxels));
            r.first = s.first;
            r.last = s.last;
        }
        return out;
    }

private:
    static constexpr std::uint32_t none = 0xffffffffu;

    struct Sum {
        std::uint64_t voxels = 0, components = 0;
        double mean = 0, squares = 0;  // Welford 1962: sums of squares of large values would cancel
        std::array<int, 3> first{}, last{};
    };

    void count(std::uint8_t label, double value, int x, int y) {
        Sum& s = sums_[label];
        std::array<int, 3> const at{x, y, planes_};
        if (s.voxels == 0) s.first = s.last = at;
        for (std::size_t i = 0; i < 3; ++i) {
            s.first[i] = std::min(s.first[i], at[i]);
            s.last[i] = std::max(s.last[i], at[i]);
        }
        ++s.voxels;
        double const d = value - s.mean;
        s.mean += d / static_cast<double>(s.voxels);
        s.squares += d * (value - s.mean);
    }

    std::uint32_t root(std::uint32_t part) {
        while (parents_[part] != part) part = parents_[part] = parents_[parents_[part]];
        return part;
    }
    std::uint32_t join(std::uint32_t a, std::uint32_t b, std::uint8_t label) {
        if (a == none) return b;
        a = root(a);
        b = root(b);
        if (a == b) return a;
        --sums_[label].components;
        parents_[std::max(a, b)] = std::min(a, b);
        return std::min(a, b);
    }
    /// Only parts that reach the last plane can grow: the others are forgotten.
    void renumber() {
        std::vector<std::uint32_t> number(parents_.size(), none), parents;
        for (std::size_t i = 0; i < parts_.size(); ++i) {
            if (labels_[i] == 0) continue;
            std::uint32_t const r = root(parts_[i]);
            if (number[r] == none) {
                number[r] = static_cast<std::uint32_t>(parents.size());
                parents.push_back(number[r]);
            }
            parts_[i] = number[r];
        }
        parents_ = std::move(parents);
    }

    std::array<Sum, 256> sums_{};
    std::vector<std::uint8_t> labels_;    // of the last plane
    std::vector<std::uint32_t> parts_;    // its components
    std::vector<std::uint32_t> parents_;  // union and find
    int planes_ = 0;
};

}  // namespace samed
