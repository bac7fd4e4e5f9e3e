// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <samed/core/view.hpp>

namespace samed {

/// Names, colours and sizes of the classes of a label volume.
class LabelTable {
public:
    struct Row {
        std::string name;
        std::array<std::uint8_t, 3> colour{};  ///< red, green, blue
        std::uint64_t voxels = 0;
        double volume_ml = 0;
    };

    /// Class k + 1 takes `classes[k]`; anything with a `name` and a `colour` is a class. Label 0 is the background.
    template <class Classes>
    explicit LabelTable(Classes const& classes) {
        rows_.push_back({"background", {}, 0, 0});
        for (auto const& c : classes) rows_.push_back({c.name, c.colour, 0, 0});
    }

    /// Counts every label; those without a name get a row that is named by its number.
    /// @param labels      [z, y, x]
    /// @param spacing_mm  edges of a voxel
    void count(ViewN<std::uint8_t const, 3> labels, std::array<double, 3> const& spacing_mm) {
        std::array<std::uint64_t, 256> voxels{};
        for (std::uint8_t label : labels) ++voxels[label];
        double const millilitres = spacing_mm[0] * spacing_mm[1] * spacing_mm[2] / 1000;
        for (std::size_t label = 0; label < 256; ++label) {
            if (label >= rows_.size() && voxels[label] == 0) continue;
            while (rows_.size() <= label) rows_.push_back({"label " + std::to_string(rows_.size()), {}, 0, 0});
            rows_[label].voxels = voxels[label];
            rows_[label].volume_ml = static_cast<double>(voxels[label]) * millilitres;
        }
    }

    /// By label; row 0 is the background.
    std::vector<Row> const& rows() const { return rows_; }

    /// One line a class, `1 #d62728 liver`: what a label volume carries in its header extension.
    std::string text() const {
        constexpr char digits[] = "0123456789abcdef";
        std::string lines;
        for (std::size_t label = 0; label < rows_.size(); ++label) {
            lines += std::to_string(label) + " #";
            for (std::uint8_t c : rows_[label].colour) lines += {digits[c / 16], digits[c % 16]};
            lines += ' ' + rows_[label].name + '\n';
        }
        return lines;
    }

private:
    std::vector<Row> rows_;
};

}  // namespace samed
