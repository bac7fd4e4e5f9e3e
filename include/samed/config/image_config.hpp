// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <samed/core/error.hpp>

namespace samed {

/// What happens to the values of the input before the network sees them.
enum class Intensity : std::uint8_t {
    none,        ///< as they are
    clip,        ///< (x - low) / (high - low), clipped to [0, 1]
    percentile,  ///< low and high are percentiles of the whole image or volume, then as clip
};

/// How an image of any size becomes image_size x image_size.
enum class Resize : std::uint8_t {
    spline,        ///< SciPy's order-3 zoom, both axes to image_size (SAMed)
    longest_side,  ///< Pillow's 8-bit bilinear, longest side to image_size, zero padding right and below (SAM)
};

enum class Channels : std::uint8_t {
    repeat,  ///< one grey channel three times (SAMed); a colour input is refused
    rgb,     ///< three channels; a grey input is repeated
};

/// From the user's pixels to the network's input, and back. It is data of the model file because parity depends on it.
/// @source SAMed (Zhang & Liu 2023), section 4.1; segment-anything's ResizeLongestSide and preprocess
struct Recipe {
    FixedText<48> name = "none";
    Intensity intensity = Intensity::none;
    float low = 0, high = 1;      ///< bounds of clip (e.g. Hounsfield units), or percentiles 0..100
    float mean[3] = {0, 0, 0};    ///< subtracted after the resize
    float std[3] = {1, 1, 1};     ///< divided by after the resize
    Resize resize = Resize::spline;
    int resize_via = 0;           ///< slices of volumes go through this size first (SAMed: 224); 0 = straight
    Channels channels = Channels::repeat;
    /// Sides of the patient towards which columns, rows and slices grew in training ("RAS"): volumes are turned that way and their
    /// labels back. Empty: slices are taken as they are stored.
    FixedText<4> axes = "";
};

}  // namespace samed
