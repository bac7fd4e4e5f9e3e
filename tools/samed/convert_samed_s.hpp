// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <samed/config/model_config.hpp>

namespace samed::tool {

/// A tensor of SAMed_s' decoder LoRA in its checkpoint and in a model file.
struct DecoderLora {
    std::string checkpoint, model;
    std::int64_t rows, columns;
};

/// The decoder's LoRA in the checkpoint's order: sa (self attention), cti (token to image), cit (image to token) of each layer,
/// numbers 2 * layer for q and 2 * layer + 1 for v; then fati, the final attention.
std::vector<DecoderLora> decoder_lora(ModelConfig const& config);

/// `cti_a_003` to the model file's name; nothing for other names.
std::optional<std::string> decoder_lora_name(std::string_view checkpoint_name);

}  // namespace samed::tool
