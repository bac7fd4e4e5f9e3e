// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/sam/defaults.hpp>

namespace samed::variants {

/// Segment Anything: prompts in, masks with predicted IoU out. `Sam<>` opens any file; `Sam<ModelConfig{vit_b(1024), {16}, sam_masks(), 0}>`
/// pins its facts.
/// @source Kirillov et al. 2023
template <ModelConfig Config = ModelConfig{}>
struct Sam : sam::Defaults {
    static constexpr char name[] = "sam";
    static constexpr ModelConfig config = Config;
};

}  // namespace samed::variants
