// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/core/types.hpp>

namespace samed {

/// Facts of the mask decoder; its width is the encoder's neck_width, cross attention runs at half of it.
/// @source Segment Anything, appendix A "Lightweight mask decoder"
struct DecoderConfig {
    int depth = dynamic;        ///< layers of the two-way transformer, 2 in SAM
    int heads = dynamic;        ///< 8 in SAM
    int mlp_width = dynamic;    ///< 2048 in SAM
    int mask_tokens = dynamic;  ///< M: 4 in SAM, classes + 1 in SAMed

    static constexpr int max_depth = 8;
    static constexpr int max_mask_tokens = 256;

    friend constexpr bool operator==(DecoderConfig const&, DecoderConfig const&) = default;
};

/// SAM's decoder for `classes` classes besides the background: one mask token each, and one for the background.
constexpr DecoderConfig masks_for(int classes) { return {2, 8, 2048, classes == dynamic ? dynamic : classes + 1}; }

/// SAM's own decoder: one single-mask token and three for ambiguous prompts.
constexpr DecoderConfig sam_masks() { return {2, 8, 2048, 4}; }

}  // namespace samed
