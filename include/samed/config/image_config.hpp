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
    min_max,     ///< (x - min) / (max - min) of the resized image, all channels together
};

/// How an image of any size becomes image_size x image_size.
enum class Resize : std::uint8_t {
    spline,        ///< SciPy's order-3 zoom, both axes to image_size (SAMed)
    longest_side,  ///< Pillow's 8-bit bilinear, longest side to image_size, zero padding right and below (SAM)
    longest_side_area,  ///< OpenCV's 8-bit area average, placed as longest_side (LiteMedSAM)
    stretch,            ///< PyTorch's bilinear, both axes to image_size (EfficientSAM)
    stretch_cubic,      ///< scikit-image's order 3 with antialiasing, cut to 8 bits, both axes to image_size (MedSAM)
};

/// How a mask of the decoder comes to the image's size.
enum class MaskUpscale : std::uint8_t {
    logits,         ///< bilinear to image_size, padding cut off, bilinear to the image; mask above 0 (SAM)
    probabilities,  ///< sigmoid, then bilinear in one step; mask above 0.5 (MedSAM)
    bicubic,        ///< bicubic in one step; mask at 0 and above (EfficientSAM)
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
    MaskUpscale masks = MaskUpscale::logits;
    bool whole_pixel_prompts = false;  ///< coordinates are cut to whole pixels of the network's input (LiteMedSAM)
};

/// As model files and recipe files write them, in the enumerators' order.
inline constexpr char const* intensity_names[] = {"none", "clip", "percentile", "min_max"};
inline constexpr char const* resize_names[] = {"spline", "longest_side", "longest_side_area", "stretch", "stretch_cubic"};
inline constexpr char const* channels_names[] = {"repeat", "rgb"};
inline constexpr char const* mask_upscale_names[] = {"logits", "probabilities", "bicubic"};
inline constexpr char const* prompt_pixels_names[] = {"exact", "whole_pixels"};

/// Whether the resize keeps the image's proportions and pads the rest.
constexpr bool keeps_aspect(Resize r) { return r == Resize::longest_side || r == Resize::longest_side_area; }

/// Both make the same network input of the same image.
inline bool same_input(Recipe const& a, Recipe const& b) {
    bool same = a.intensity == b.intensity && a.resize == b.resize && a.resize_via == b.resize_via && a.channels == b.channels &&
                (a.intensity == Intensity::none || a.intensity == Intensity::min_max || (a.low == b.low && a.high == b.high));
    for (int c = 0; c < 3; ++c) same = same && a.mean[c] == b.mean[c] && a.std[c] == b.std[c];
    return same;
}

}  // namespace samed
