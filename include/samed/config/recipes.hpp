// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>

#include <samed/config/image_config.hpp>

namespace samed {

/// The recipes that have a name. Bounds are in the units of the input.
/// @return nothing for a name that does not exist
inline std::optional<Recipe> named_recipe(std::string_view name) {
    Recipe r;
    r.name = name;
    if (name == "none") return r;
    if (name == "samed_ct") {  // Hounsfield units
        r.intensity = Intensity::clip;
        r.low = -125;
        r.high = 275;
        r.resize_via = 224;
        return r;
    }
    if (name == "mr") {  // MR has no absolute scale
        r.intensity = Intensity::percentile;
        r.low = 0.5f;
        r.high = 99.5f;
        r.resize_via = 224;
        return r;
    }
    if (name == "brain_t1") {  // the 8-bit T1 template of the bundled model
        r.intensity = Intensity::clip;
        r.low = 10;
        r.high = 130;
        r.axes = "RAS";
        return r;
    }
    struct Window {
        std::string_view name;
        float low, high;
    };
    for (Window const w : {Window{"soft_tissue", -160, 240}, Window{"lung", -1350, 150}, Window{"bone", -500, 1300}, Window{"brain_ct", 0, 80}})
        if (name == w.name) {  // Hounsfield units: centre and width 40/400, -600/1500, 400/1800, 40/80
            r.intensity = Intensity::clip;
            r.low = w.low;
            r.high = w.high;
            return r;
        }
    if (name == "med_sam") {  // 8-bit images; CT after a window
        r.intensity = Intensity::min_max;
        r.resize = Resize::stretch_cubic;
        r.channels = Channels::rgb;
        r.masks = MaskUpscale::probabilities;
        return r;
    }
    if (name == "lite_med_sam") {
        r.intensity = Intensity::min_max;
        r.resize = Resize::longest_side_area;
        r.channels = Channels::rgb;
        r.whole_pixel_prompts = true;
        return r;
    }
    if (name == "sam" || name == "efficient_sam") {  // 8-bit colour images
        constexpr float mean[] = {123.675f, 116.28f, 103.53f}, std[] = {58.395f, 57.12f, 57.375f};
        for (int i = 0; i < 3; ++i) {
            r.mean[i] = mean[i];
            r.std[i] = std[i];
        }
        r.resize = name == "sam" ? Resize::longest_side : Resize::stretch;
        r.masks = name == "sam" ? MaskUpscale::logits : MaskUpscale::bicubic;
        r.channels = Channels::rgb;
        return r;
    }
    return std::nullopt;
}

/// For messages.
inline constexpr char recipe_names[] =
    "samed_ct, soft_tissue, lung, bone, brain_ct, sam, efficient_sam, med_sam, lite_med_sam, brain_t1, mr or none";

}  // namespace samed
