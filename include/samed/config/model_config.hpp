// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/config/decoder_config.hpp>
#include <samed/config/prompt_config.hpp>
#include <samed/config/vit_config.hpp>

namespace samed {

/// All facts of a network. As a template argument its ints may be `dynamic`; the one inside a loaded model never is.
struct ModelConfig {
    VitConfig encoder{};
    PromptConfig prompt{};
    DecoderConfig decoder{};
    int rank = dynamic;  ///< R of LoRA in the encoder's q and v; 0 = none, or merged

    constexpr int classes() const { return decoder.mask_tokens == dynamic ? dynamic : decoder.mask_tokens - 1; }

    friend constexpr bool operator==(ModelConfig const&, ModelConfig const&) = default;
};

}  // namespace samed
