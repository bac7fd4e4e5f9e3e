// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/sam/defaults.hpp>

namespace samed::variants {

/// MedSAM: SAM's ViT-B trained on medical images with boxes as prompts. Its network and tensors are SAM's; the recipe `med_sam` holds
/// what is different: the image is stretched and scaled to [0, 1] by its own range, masks are probabilities when they are enlarged.
/// @source Ma et al. 2024, "Segment anything in medical images"
template <ModelConfig Config = ModelConfig{}>
struct MedSam : sam::Defaults {
    static constexpr char name[] = "med_sam";
    static constexpr ModelConfig config = Config;
};

}  // namespace samed::variants
