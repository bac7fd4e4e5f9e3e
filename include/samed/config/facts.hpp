// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/config/model_config.hpp>
#include <samed/core/result.hpp>

namespace samed {

/// The facts of a loaded model: what the type pins is a constant, what it leaves `dynamic` is read from the file.
template <ModelConfig Pinned>
class Facts {
public:
    Facts() = default;
    explicit Facts(ModelConfig const& loaded) : loaded_(loaded) {}

    constexpr int image_size() const { return one(Pinned.encoder.image_size, loaded_.encoder.image_size); }
    constexpr int patch_size() const { return one(Pinned.encoder.patch_size, loaded_.encoder.patch_size); }
    constexpr int grid() const { return image_size() / patch_size(); }
    constexpr int width() const { return one(Pinned.encoder.width, loaded_.encoder.width); }
    constexpr int depth() const { return one(Pinned.encoder.depth, loaded_.encoder.depth); }
    constexpr int heads() const { return one(Pinned.encoder.heads, loaded_.encoder.heads); }
    constexpr int head_dim() const { return width() / heads(); }
    constexpr int mlp_width() const { return one(Pinned.encoder.mlp_width, loaded_.encoder.mlp_width); }
    constexpr int window_size() const { return one(Pinned.encoder.window_size, loaded_.encoder.window_size); }
    constexpr int neck_width() const { return one(Pinned.encoder.neck_width, loaded_.encoder.neck_width); }
    constexpr bool is_global(int block) const {
        return Pinned.encoder.global_blocks_known ? Pinned.encoder.is_global(block) : loaded_.encoder.is_global(block);
    }
    constexpr int mask_channels() const { return one(Pinned.prompt.mask_channels, loaded_.prompt.mask_channels); }
    constexpr int decoder_depth() const { return one(Pinned.decoder.depth, loaded_.decoder.depth); }
    constexpr int decoder_heads() const { return one(Pinned.decoder.heads, loaded_.decoder.heads); }
    constexpr int decoder_mlp_width() const { return one(Pinned.decoder.mlp_width, loaded_.decoder.mlp_width); }
    constexpr int mask_tokens() const { return one(Pinned.decoder.mask_tokens, loaded_.decoder.mask_tokens); }
    constexpr int rank() const { return one(Pinned.rank, loaded_.rank); }

    ModelConfig const& loaded() const { return loaded_; }

private:
    static constexpr int one(int pinned, int loaded) { return pinned == dynamic ? loaded : pinned; }

    ModelConfig loaded_{};
};

/// Every fact that the type pins must be what the file says.
/// @errors shape_mismatch, naming the first fact that differs
inline Result<void> check_pinned(ModelConfig const& pinned, ModelConfig const& file) {
    struct Row {
        char const* field;
        int pinned, file;
    };
    Row const rows[] = {
        {"image_size", pinned.encoder.image_size, file.encoder.image_size},
        {"patch_size", pinned.encoder.patch_size, file.encoder.patch_size},
        {"width", pinned.encoder.width, file.encoder.width},
        {"depth", pinned.encoder.depth, file.encoder.depth},
        {"heads", pinned.encoder.heads, file.encoder.heads},
        {"mlp_width", pinned.encoder.mlp_width, file.encoder.mlp_width},
        {"window_size", pinned.encoder.window_size, file.encoder.window_size},
        {"neck_width", pinned.encoder.neck_width, file.encoder.neck_width},
        {"mask_channels", pinned.prompt.mask_channels, file.prompt.mask_channels},
        {"decoder_depth", pinned.decoder.depth, file.decoder.depth},
        {"decoder_heads", pinned.decoder.heads, file.decoder.heads},
        {"decoder_mlp_width", pinned.decoder.mlp_width, file.decoder.mlp_width},
        {"mask_tokens", pinned.decoder.mask_tokens, file.decoder.mask_tokens},
        {"rank", pinned.rank, file.rank},
    };
    for (Row const& r : rows)
        if (r.pinned != dynamic && r.pinned != r.file)
            return fail(ErrorCode::shape_mismatch, r.field, text() << r.pinned << ", pinned by the program's type", text() << r.file)
                .advise("open this file with a type that leaves the fact dynamic, or convert the model anew");
    if (pinned.encoder.global_blocks_known && pinned.encoder.global_blocks != file.encoder.global_blocks)
        return fail(ErrorCode::shape_mismatch, "global_blocks", "the blocks pinned by the program's type", "other blocks");
    return {};
}

}  // namespace samed
