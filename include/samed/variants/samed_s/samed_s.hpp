// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/variants/samed/samed.hpp>

namespace samed::variants {

/// SAMed_s: SAMed with LoRA also on q and v of every attention of the mask decoder, whose transformer stays as the base has it. An
/// adapter file is a third of SAMed's. `SamedS<samed_config(vit_b(512), 8, 4)>` pins the facts.
/// @source Zhang & Liu 2023, "Customized Segment Anything Model for Medical Image Segmentation", section 3.3 and table 3
template <ModelConfig Config = ModelConfig{}>
struct SamedS : Samed<Config> {
    static constexpr char name[] = "samed_s";

    using DecoderAttention = adapters::LoraQv<Config.rank>;
};

}  // namespace samed::variants
