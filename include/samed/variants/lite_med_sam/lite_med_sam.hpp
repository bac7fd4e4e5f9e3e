// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/variants/mobile_sam/mobile_sam.hpp>

namespace samed::variants {

/// LiteMedSAM: MobileSAM's TinyViT with a stem that keeps the resolution, on 256 pixels; boxes as prompts. The recipe `lite_med_sam`
/// holds how images and boxes enter.
/// @source Ma et al. 2024, "Segment anything in medical images", its authors' baseline of the CVPR 2024 challenge
template <ModelConfig Config = ModelConfig{.encoder = {.patch_size = 4}}>
struct LiteMedSam : MobileSam<Config> {
    static constexpr char name[] = "lite_med_sam";
};

}  // namespace samed::variants
