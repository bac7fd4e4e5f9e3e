// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <samed/core/macros.hpp>
#include <samed/core/result.hpp>
#include <samed/core/view.hpp>
#include <samed/image/image.hpp>

namespace samed {

using Rgb = std::array<std::uint8_t, 3>;

/// Colour of class `label` (1, 2, ..) for models that bring none: ten hues that also differ in lightness, then again.
constexpr Rgb default_colour(int label) {
    constexpr Rgb palette[] = {{214, 39, 40},  {44, 160, 44},   {31, 119, 180}, {255, 187, 40}, {148, 103, 189},
                               {23, 190, 207}, {227, 119, 194}, {140, 86, 75},  {188, 189, 34}, {255, 127, 14}};
    return palette[(label > 0 ? label - 1 : 0) % 10];
}

/// Grey levels for display: low and below are black, high and above white, NaN is black.
/// @param out  [H, W]
inline void window_to_grey(ImageView<float const> image, float low, float high, std::uint8_t* out) {
    for (int y = 0; y < image.height; ++y)
        for (int x = 0; x < image.width; ++x) {
            float const level = (image(y, x) - low) / (high - low) * 255.0f + 0.5f;
            *out++ = level > 0.0f ? static_cast<std::uint8_t>(std::min(level, 255.0f)) : std::uint8_t{0};
        }
}

struct OverlayStyle {
    float opacity = 0.4f;  ///< of the class colour over the image, 0..1
    bool outlines = true;  ///< pixels with a 4-neighbour of another label take the full colour
};

/// Labels in colour over an image; background stays as it is.
/// @param image    1 or 3 channels
/// @param colours  of classes 1, 2, ..; classes beyond the table take default_colour
/// @param out      [H, W, 3]
inline void overlay(ImageView<std::uint8_t const> image, ViewN<std::uint8_t const, 2> labels, std::span<Rgb const> colours,
                    OverlayStyle style, std::uint8_t* out) {
    int const height = image.height, width = image.width;
    SAMED_ASSERT(labels.size(0) == height && labels.size(1) == width && (image.channels == 1 || image.channels == 3));
    auto const differs = [&](int y, int x, int label) { return y >= 0 && y < height && x >= 0 && x < width && labels(y, x) != label; };
    float const opacity = std::clamp(style.opacity, 0.0f, 1.0f);
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x) {
            int const label = labels(y, x);
            bool const edge =
                style.outlines && label != 0 &&
                (differs(y - 1, x, label) || differs(y + 1, x, label) || differs(y, x - 1, label) || differs(y, x + 1, label));
            float const share = label == 0 ? 0.0f : edge ? 1.0f : opacity;
            auto const index = static_cast<std::size_t>(label);
            Rgb const colour = index >= 1 && index <= colours.size() ? colours[index - 1] : default_colour(label);
            for (std::size_t c = 0; c < 3; ++c) {
                float const grey = image(y, x, image.channels == 3 ? static_cast<int>(c) : 0);
                *out++ = static_cast<std::uint8_t>(grey + share * (static_cast<float>(colour[c]) - grey) + 0.5f);
            }
        }
}

/// An RGB image that owns its pixels.
struct RgbImage {
    int height = 0, width = 0;
    std::vector<std::uint8_t> pixels;  ///< [H, W, 3]
};

/// Many pictures on one sheet, row by row, each in the top left corner of a cell of the largest size; the rest is black.
/// @param pictures  1 or 3 channels each
/// @param gap       pixels between cells
/// @errors invalid_argument, shape_mismatch, too_large (more than 2^27 pixels, what write_png takes)
inline Result<RgbImage> contact_sheet(std::span<ImageView<std::uint8_t const> const> pictures, int columns, int gap = 2) {
    if (pictures.empty()) return fail(ErrorCode::invalid_argument, "pictures", "at least one", "none");
    if (columns < 1 || gap < 0)
        return fail(ErrorCode::invalid_argument, "columns, gap", "at least 1 and 0", text() << columns << " and " << gap);
    std::int64_t cell_height = 0, cell_width = 0;
    for (auto const& picture : pictures) {
        if (picture.height <= 0 || picture.width <= 0 || (picture.channels != 1 && picture.channels != 3))
            return fail(ErrorCode::shape_mismatch, "pictures", "at least one pixel of 1 or 3 channels",
                        text() << "[" << picture.height << ", " << picture.width << ", " << picture.channels << "]");
        cell_height = std::max(cell_height, std::int64_t{picture.height} + gap);
        cell_width = std::max(cell_width, std::int64_t{picture.width} + gap);
    }
    auto const count = static_cast<std::int64_t>(pictures.size());
    std::int64_t const across = std::min<std::int64_t>(columns, count), down = (count + columns - 1) / columns;
    constexpr std::int64_t cap = std::int64_t{1} << 27;
    if (across > cap / cell_width || down > cap / cell_height || across * cell_width > cap / (down * cell_height))
        return fail(ErrorCode::too_large, "contact sheet", text() << "at most " << cap << " pixels",
                    text() << down << " x " << across << " cells of " << cell_height << " x " << cell_width);
    RgbImage sheet;
    sheet.height = static_cast<int>(down * cell_height - gap);
    sheet.width = static_cast<int>(across * cell_width - gap);
    sheet.pixels.assign(static_cast<std::size_t>(sheet.height) * static_cast<std::size_t>(sheet.width) * 3, 0);
    for (std::int64_t i = 0; i < count; ++i) {
        auto const& picture = pictures[static_cast<std::size_t>(i)];
        for (int y = 0; y < picture.height; ++y) {
            std::int64_t const row = i / columns * cell_height + y, column = i % columns * cell_width;
            std::uint8_t* to = sheet.pixels.data() + (row * sheet.width + column) * 3;
            for (int x = 0; x < picture.width; ++x)
                for (int c = 0; c < 3; ++c) *to++ = picture(y, x, picture.channels == 3 ? c : 0);
        }
    }
    return sheet;
}

}  // namespace samed
