// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <samed/core/types.hpp>

namespace samed {

/// Facts of the ViT image encoder. Every int may be `dynamic`: the model file decides it then.
/// @source Kirillov et al. 2023 (Segment Anything), appendix A "Image encoder"; Li et al. 2022 (ViTDet)
struct VitConfig {
    int image_size = dynamic;   ///< S, pixels of the square input; a multiple of patch_size
    int patch_size = 16;
    int width = dynamic;        ///< C, embedding width
    int depth = dynamic;        ///< number of blocks, at most max_depth
    int heads = dynamic;
    int mlp_width = dynamic;    ///< 4 * width in every published SAM
    int window_size = dynamic;  ///< side of the attention window of non-global blocks
    int neck_width = dynamic;   ///< channels of the image embedding; also the width of prompts and decoder

    /// Bit i set: block i attends globally. 64 bits hold every published depth twice.
    std::uint64_t global_blocks = 0;
    bool global_blocks_known = false;

    static constexpr int max_depth = 64;

    constexpr bool is_global(int block) const { return (global_blocks >> block & 1u) != 0; }
    constexpr int grid() const { return image_size == dynamic ? dynamic : image_size / patch_size; }
    constexpr int head_dim() const { return width / heads; }

    friend constexpr bool operator==(VitConfig const&, VitConfig const&) = default;
};

namespace detail {
constexpr std::uint64_t every_fourth(int depth) {  // ViT-B 2,5,8,11; ViT-L 5,11,17,23; ViT-H 7,15,23,31
    std::uint64_t bits = 0;
    for (int i = 1; i <= 4; ++i) bits |= std::uint64_t{1} << (depth / 4 * i - 1);
    return bits;
}
constexpr VitConfig preset(int image_size, int width, int depth, int heads) {
    return {image_size, 16, width, depth, heads, 4 * width, 14, 256, every_fourth(depth), true};
}
}  // namespace detail

/// The published encoders at any image size that is a multiple of 16 (or `dynamic`).
constexpr VitConfig vit_b(int image_size = 1024) { return detail::preset(image_size, 768, 12, 12); }
constexpr VitConfig vit_l(int image_size = 1024) { return detail::preset(image_size, 1024, 24, 16); }
constexpr VitConfig vit_h(int image_size = 1024) { return detail::preset(image_size, 1280, 32, 16); }

/// The encoder of the bundled example models.
constexpr VitConfig vit_tiny(int image_size = 256) {
    return {image_size, 16, 192, 8, 3, 768, 8, 128, (1u << 2) | (1u << 5) | (1u << 7), true};
}

}  // namespace samed
