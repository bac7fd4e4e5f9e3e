// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include <samed/config/image_config.hpp>
#include <samed/image/overlay.hpp>

#include "segment_input.hpp"

namespace samed::tool {

/// Grey levels to show: the recipe's bounds where it has some (percentiles resolved), else the darkest and the brightest value.
std::array<float, 2> display_window(Recipe const& recipe, ImageView<float const> image);

/// The single image with its labels in colour.
Result<RgbImage> labelled_image(Input const& input, LabelMap labels, std::vector<Rgb> const& colours, std::array<float, 2> window);

/// How slices are turned for the eye (only here): superior or anterior up, the patient's right on the left; and the sides of the patient
/// at the left and the upper edge, 0 where the file does not know directions.
struct SliceView {
    SliceFrame frame;
    char left = 0, top = 0;
};
SliceView slice_view(Geometry const& geometry, VoxelAxis across);
/// The other side of the patient: 'R' for 'L'; ' ' for what is no side.
char opposite(char side);

/// At most `most` of the slices, at even distances.
std::vector<int> shown_slices(int total, int most);

/// A slice as it is stored, with its labels in colour and letters at the edges.
RgbImage labelled_slice(ImageView<float const> image, ImageView<std::uint8_t const> labels, SliceView const& view,
                        std::vector<Rgb> const& colours, std::array<float, 2> window);

/// Pictures on one sheet, five in a row.
Result<RgbImage> sheet_of(std::vector<RgbImage> const& pictures);

}  // namespace samed::tool
