// SPDX-License-Identifier: Apache-2.0
#include "display.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

namespace samed::tool {

char opposite(char side) {
    constexpr std::string_view sides = "LRPAIS";
    std::size_t const at = sides.find(side);
    return at == std::string_view::npos ? ' ' : sides[at ^ 1];
}

namespace {

/// @param row, column  sides towards which the slice's row and column indices grow
SliceView view_for(char row, char column) {
    auto const upright = [](char side) { return side == 'S' || side == 'I' ? 2 : side == 'A' || side == 'P' ? 1 : 0; };
    SliceView v;
    v.frame.transposed = upright(column) > upright(row);
    if (v.frame.transposed) std::swap(row, column);
    v.frame.rows_reversed = row == 'S' || row == 'A';
    v.frame.columns_reversed = column == 'R' || column == 'A';
    v.top = v.frame.rows_reversed ? row : opposite(row);
    v.left = v.frame.columns_reversed ? column : opposite(column);
    return v;
}

/// Letters of 5 x 7 pixels, one row a number, the highest of 5 bits on the left.
void draw_letter(RgbImage& image, char letter, int y, int x) {
    constexpr std::uint8_t glyphs[6][7] = {{16, 16, 16, 16, 16, 16, 31}, {30, 17, 17, 30, 20, 18, 17}, {30, 17, 17, 30, 16, 16, 16},
                                           {14, 17, 17, 31, 17, 17, 17}, {14, 4, 4, 4, 4, 4, 14},      {15, 16, 16, 14, 1, 1, 30}};
    std::size_t const which = std::string_view("LRPAIS").find(letter);
    if (which == std::string_view::npos) return;
    for (int r = 0; r < 7; ++r)
        for (int c = 0; c < 5; ++c) {
            int const row = y + r, column = x + c;
            if ((glyphs[which][r] >> (4 - c) & 1) == 0 || row < 0 || column < 0 || row >= image.height || column >= image.width) continue;
            std::fill_n(image.pixels.begin() + (row * std::ptrdiff_t{image.width} + column) * 3, 3, std::uint8_t{255});
        }
}

RgbImage labelled(ImageView<float const> image, ImageView<std::uint8_t const> labels, std::vector<Rgb> const& colours,
                  std::array<float, 2> window) {
    std::size_t const pixels = static_cast<std::size_t>(image.height) * static_cast<std::size_t>(image.width);
    std::vector<std::uint8_t> grey(pixels), map(pixels);
    window_to_grey(image, window[0], window[1], grey.data());
    for (int y = 0; y < image.height; ++y)
        for (int x = 0; x < image.width; ++x) map[static_cast<std::size_t>(y) * image.width + x] = labels(y, x);
    RgbImage out{image.height, image.width, std::vector<std::uint8_t>(3 * pixels)};
    overlay(interleaved<std::uint8_t const>(grey.data(), image.height, image.width), {map.data(), {image.height, image.width}}, colours, {},
            out.pixels.data());
    return out;
}

}  // namespace

std::array<float, 2> display_window(Recipe const& recipe, ImageView<float const> image) {
    if (recipe.intensity == Intensity::clip) return {recipe.low, recipe.high};
    float low = image(0, 0), high = low;
    for (int y = 0; y < image.height; ++y)
        for (int x = 0; x < image.width; ++x) {
            low = std::min(low, image(y, x));
            high = std::max(high, image(y, x));
        }
    return {low, high > low ? high : low + 1};
}

Result<RgbImage> labelled_image(Input const& input, LabelMap labels, std::vector<Rgb> const& colours, std::array<float, 2> window) {
    ImageView<float const> const image = input.image();
    if (input.kind != Input::Kind::picture)
        return labelled(image, interleaved<std::uint8_t const>(labels.data, image.height, image.width), colours, window);
    std::vector<std::uint8_t> bytes(input.picture.size());
    std::transform(input.picture.begin(), input.picture.end(), bytes.begin(), [](float v) { return static_cast<std::uint8_t>(v); });
    RgbImage out{image.height, image.width, std::vector<std::uint8_t>(3 * labels.count())};
    overlay(interleaved<std::uint8_t const>(bytes.data(), image.height, image.width, image.channels), labels, colours, {},
            out.pixels.data());
    return out;
}

SliceView slice_view(Geometry const& geometry, VoxelAxis across) {
    SliceView view;
    if (geometry.directions_known()) {
        std::string const codes = axis_codes(geometry.affine);
        view = view_for(codes[across == VoxelAxis::z ? 1 : 2], codes[across == VoxelAxis::x ? 1 : 0]);
    }
    view.frame.across = across;
    return view;
}

std::vector<int> shown_slices(int total, int most) {
    int const shown = std::min(total, most);
    std::vector<int> out;
    for (int i = 0; i < shown; ++i)
        out.push_back(static_cast<int>((2LL * i + 1) * total / (2 * shown)));  // the middle of each of `shown` parts
    return out;
}

RgbImage labelled_slice(ImageView<float const> image, ImageView<std::uint8_t const> labels, SliceView const& view,
                        std::vector<Rgb> const& colours, std::array<float, 2> window) {
    RgbImage picture = labelled(turned(image, view.frame), turned(labels, view.frame), colours, window);
    draw_letter(picture, view.left, picture.height / 2 - 3, 2);
    draw_letter(picture, opposite(view.left), picture.height / 2 - 3, picture.width - 7);
    draw_letter(picture, view.top, 2, picture.width / 2 - 2);
    draw_letter(picture, opposite(view.top), picture.height - 9, picture.width / 2 - 2);
    return picture;
}

Result<RgbImage> sheet_of(std::vector<RgbImage> const& pictures) {
    constexpr int columns = 5;
    std::vector<ImageView<std::uint8_t const>> views;
    for (RgbImage const& p : pictures) views.push_back(interleaved<std::uint8_t const>(p.pixels.data(), p.height, p.width, 3));
    return contact_sheet(views, columns);
}

}  // namespace samed::tool
