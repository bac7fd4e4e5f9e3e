// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/core/types.hpp>

namespace samed {

/// Facts of the prompt encoder; its width is the encoder's neck_width.
/// @source Segment Anything, appendix A "Prompt encoder"
struct PromptConfig {
    int mask_channels = dynamic;  ///< width of the mask prompt's second convolution, 16 in SAM

    friend constexpr bool operator==(PromptConfig const&, PromptConfig const&) = default;
};

}  // namespace samed
