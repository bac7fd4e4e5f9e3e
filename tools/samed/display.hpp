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

/// Slices at even distances with their labels in colour. Where the file knows directions, slices are turned for the eye (only here):
/// superior or anterior up, the patient's right on the left, with letters at the edges.
Result<RgbImage> labelled_sheet(Volume const& volume, LabelVolume const& labels, VoxelAxis axis, std::vector<Rgb> const& colours,
                                std::array<float, 2> window);

}  // namespace samed::tool
