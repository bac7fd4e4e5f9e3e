// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <samed/core/result.hpp>
#include <samed/core/view.hpp>

namespace samed {

namespace detail {

/// Metrics compare voxel by voxel. @errors shape_mismatch
inline Result<void> same_shape(ViewN<std::uint8_t const, 3> const& prediction, ViewN<std::uint8_t const, 3> const& reference) {
    auto const shape = [](auto const& v) { return text() << v.size(0) << " x " << v.size(1) << " x " << v.size(2); };
    for (int axis = 0; axis < 3; ++axis)
        if (prediction.size(axis) != reference.size(axis))
            return fail(ErrorCode::shape_mismatch, "prediction", shape(reference), shape(prediction));
    return {};
}

}  // namespace detail

/// Voxels of every label in two volumes, and where both have it.
struct LabelCounts {
    std::array<std::uint64_t, 256> prediction{}, reference{}, both{};

    /// Sorensen-Dice coefficient 2 |A and B| / (|A| + |B|); 1 where both are empty.
    double dice(std::uint8_t label) const {
        std::uint64_t const sum = prediction[label] + reference[label];
        return sum == 0 ? 1 : 2 * static_cast<double>(both[label]) / static_cast<double>(sum);
    }
};

/// @param prediction, reference  [z, y, x]
/// @errors shape_mismatch
inline Result<LabelCounts> count_labels(ViewN<std::uint8_t const, 3> prediction, ViewN<std::uint8_t const, 3> reference) {
    SAMED_CHECK(detail::same_shape(prediction, reference));
    LabelCounts counts;
    for (std::size_t i = 0; i < prediction.count(); ++i) {
        std::uint8_t const a = prediction.data[i], b = reference.data[i];
        ++counts.prediction[a];
        ++counts.reference[b];
        counts.both[a] += a == b;
    }
    return counts;
}

}  // namespace samed
