// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <samed/core/view.hpp>

namespace samed {

/// A mask as run lengths down its columns, left to right: zeros, ones, zeros, ... The first run may be empty.
struct Rle {
    int height = 0, width = 0;
    std::vector<std::uint32_t> counts;

    bool operator==(Rle const&) const = default;
};

namespace masks {

/// Where a part of an image lies inside it: its top left corner.
struct Offset {
    int x = 0, y = 0;
};

/// Run lengths of a mask that covers a part of an image of [height, width]; what lies outside is 0.
/// @param mask  [h, w], any value but 0 counts as 1
inline Rle encode_rle(ViewN<std::uint8_t const, 2> mask, Offset at, int height, int width) {
    Rle rle{height, width, {}};
    std::uint64_t start = 0;  // of the run
    bool inside = false;
    auto const turn = [&](int column, int row) {
        std::uint64_t const position = static_cast<std::uint64_t>(column) * static_cast<std::uint64_t>(height) + static_cast<std::uint64_t>(row);
        rle.counts.push_back(static_cast<std::uint32_t>(position - start));
        start = position;
        inside = !inside;
    };
    int const h = mask.size(0), w = mask.size(1);
    for (int x = 0; x < w; ++x) {
        if (inside && (at.y > 0 || h < height)) turn(at.x + x - 1, at.y + h);  // a run ends with the part, not with the image
        for (int y = 0; y < h; ++y)
            if ((mask(y, x) != 0) != inside) turn(at.x + x, at.y + y);
    }
    if (inside && (at.x + w < width || at.y + h < height)) turn(at.x + w - 1, at.y + h);
    turn(width, 0);
    return rle;
}

/// @param out  [height, width] of 0 and 1
inline void decode_rle(Rle const& rle, std::uint8_t* out) {
    std::ptrdiff_t column = 0, row = 0;
    std::uint8_t value = 0;
    for (std::uint32_t count : rle.counts) {
        for (std::uint32_t i = 0; i < count; ++i) {
            out[row * rle.width + column] = value;
            if (++row == rle.height) {
                row = 0;
                ++column;
            }
        }
        value ^= 1;
    }
}

inline std::int64_t area(Rle const& rle) {
    std::int64_t sum = 0;
    for (std::size_t i = 1; i < rle.counts.size(); i += 2) sum += rle.counts[i];
    return sum;
}

/// The `counts` string of COCO's compressed masks: each run after the third as its difference from the run two before it, five bits
/// a character from the lowest, bit 5 set where more follow, offset 48.
inline std::string coco_string(Rle const& rle) {
    std::string s;
    for (std::size_t i = 0; i < rle.counts.size(); ++i) {
        std::int64_t value = rle.counts[i];
        if (i > 2) value -= rle.counts[i - 2];
        for (bool more = true; more;) {
            auto const low = static_cast<int>(value & 31);
            value >>= 5;
            more = value != ((low & 16) ? -1 : 0);
            s += static_cast<char>((more ? low | 32 : low) + 48);
        }
    }
    return s;
}

}  // namespace masks

}  // namespace samed
