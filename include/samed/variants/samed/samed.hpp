// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/adapters/lora.hpp>
#include <samed/sam/defaults.hpp>

namespace samed::variants {

/// SAMed: LoRA on the image encoder's q and v, one mask token a class, no prompt needed. `Samed<>` opens any file;
/// `Samed<samed_config(vit_b(512), 8, 4)>` pins its facts.
/// @source Zhang & Liu 2023, "Customized Segment Anything Model for Medical Image Segmentation"
template <ModelConfig Config = ModelConfig{}>
struct Samed : sam::Defaults {
    static constexpr char name[] = "samed";
    static constexpr ModelConfig config = Config;
    static constexpr bool semantic = true;

    using Qkv = adapters::LoraQv<Config.rank>;
};

/// @param classes  K, without the background
/// @param rank     R of LoRA; `dynamic` also opens merged files
constexpr ModelConfig samed_config(VitConfig encoder, int classes, int rank = dynamic) {
    return {encoder, {16}, masks_for(classes), rank};
}

}  // namespace samed::variants
