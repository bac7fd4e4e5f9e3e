// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/sam/defaults.hpp>
#include <samed/variants/mobile_sam/tiny_vit.hpp>

namespace samed::variants {

/// MobileSAM: SAM with a TinyViT in place of the image encoder; prompts and masks are SAM's.
/// @source Zhang et al. 2023, "Faster Segment Anything: Towards Lightweight SAM for Mobile Applications"
template <ModelConfig Config = ModelConfig{}>
struct MobileSam : sam::Defaults {
    static constexpr char name[] = "mobile_sam";
    static constexpr ModelConfig config = Config;

    template <class V, class C>
    using Encoder = mobile_sam::TinyVit<V, C>;
};

}  // namespace samed::variants
