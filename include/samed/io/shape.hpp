// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>

#include <samed/core/error.hpp>

namespace samed {

/// Product of the sizes of a shape that a file declares; nothing when a size is negative or the product exceeds 2^62.
/// A size of 0 gives 0 only if the other sizes are in range too.
inline std::optional<std::int64_t> checked_count(std::span<std::int64_t const> shape) {
    constexpr std::int64_t limit = std::int64_t{1} << 62;
    std::int64_t product = 1;
    bool empty = false;
    for (std::int64_t size : shape) {
        if (size < 0) return std::nullopt;
        if (size == 0) {
            empty = true;
            continue;
        }
        if (product > limit / size) return std::nullopt;
        product *= size;
    }
    return empty ? 0 : product;
}

/// `[2, 3, 4]`, for messages.
inline FixedText<160> shape_text(std::span<std::int64_t const> shape) {
    FixedText<160> t("[");
    for (std::size_t i = 0; i < shape.size(); ++i) {
        if (i > 0) t << ", ";
        t << shape[i];
    }
    t << "]";
    return t;
}

}  // namespace samed
