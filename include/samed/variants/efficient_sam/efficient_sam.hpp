// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/sam/defaults.hpp>
#include <samed/sam/mask_decoder.hpp>
#include <samed/variants/efficient_sam/prompt_encoder.hpp>

namespace samed::variants {

namespace efficient_sam {

struct Decoder {
    static constexpr sam::TwoWayPolicy two_way{kernels::Activation::gelu, true, true};
    static constexpr kernels::Activation head_activation = kernels::Activation::gelu;
    static constexpr bool group_norm = true;
};

}  // namespace efficient_sam

/// EfficientSAM on ViT-T or ViT-S: a plain ViT whose every block is global and knows positions from its input alone; points and boxes
/// as prompts. The recipe `efficient_sam` holds how images enter and masks come back.
/// @source Xiong et al. 2024, "EfficientSAM: Leveraged Masked Image Pretraining for Efficient Segment Anything"
template <ModelConfig Config = ModelConfig{}>
struct EfficientSam : sam::Defaults {
    static constexpr char name[] = "efficient_sam";
    static constexpr ModelConfig config = Config;
    static constexpr bool relative_position = false;

    template <class C>
    using PromptEncoder = efficient_sam::PromptEncoder<C>;
    using Decoder = efficient_sam::Decoder;
};

}  // namespace samed::variants
