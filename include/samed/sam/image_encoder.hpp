// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <samed/config/facts.hpp>
#include <samed/nn/conv2d.hpp>
#include <samed/nn/patch_embed.hpp>
#include <samed/sam/block.hpp>

namespace samed::sam {

/// Two convolutions that turn the last block's tokens into the image embedding, each followed by a LayerNorm over channels.
/// @source Li et al. 2022 (ViTDet); segment-anything `ImageEncoderViT.neck`
template <Backend C>
class Neck {
public:
    using Scalar = typename C::Scalar;

    static Result<Neck> load(WeightLoader<C>& loader, int width, int out) {
        Neck n;
        n.out_ = out;
        SAMED_TRY(n.conv1_, nn::Conv2d<C>::load(loader, "image_encoder.neck.0", {width, out, 1, 1, 0, false}));
        SAMED_TRY(n.norm1_, nn::LayerNorm<C>::load(loader, "image_encoder.neck.1", out, 1e-6));
        SAMED_TRY(n.conv2_, nn::Conv2d<C>::load(loader, "image_encoder.neck.2", {out, out, 3, 1, 1, false}));
        SAMED_TRY(n.norm2_, nn::LayerNorm<C>::load(loader, "image_encoder.neck.3", out, 1e-6));
        return n;
    }

    /// @param x          [B, H, W, C]
    /// @param embedding  [B, H, W, out]
    void operator()(C& context, GridInfo grid, Scalar const* x, Scalar* embedding) const {
        Arena::Frame frame(context.arena());
        Scalar* y = context.arena().template take<Scalar>(std::size_t(grid.tokens()) * out_);
        conv1_(context, grid.batch * grid.depth, grid.height, grid.width, x, y);
        norm1_(context, grid.tokens(), y, y);
        conv2_(context, grid.batch * grid.depth, grid.height, grid.width, y, embedding);
        norm2_(context, grid.tokens(), embedding, embedding);
    }

private:
    nn::Conv2d<C> conv1_, conv2_;
    nn::LayerNorm<C> norm1_, norm2_;
    int out_ = 0;
};

/// The ViT image encoder: patches, blocks, neck.
/// @source Segment Anything, appendix A "Image encoder"
template <class V, Backend C>
class ImageEncoder {
public:
    using Scalar = typename C::Scalar;
    using Adapters = std::vector<BlockAdapters<V, C>>;

    /// @param merge  where LoRA to be added to q and v comes from, or null
    static Result<ImageEncoder> load(WeightLoader<C>& loader, Facts<V::config> const& facts, WeightLoader<C>* merge) {
        ImageEncoder e;
        e.facts_ = facts;
        WeightLoader<C> of_blocks = loader.for_blocks();
        SAMED_TRY(e.patch_embed_, nn::PatchEmbed<C>::load(loader, facts.image_size(), facts.patch_size(), facts.width()));
        for (int i = 0; i < facts.depth(); ++i) {
            BlockInfo const info = e.block_info(i);
            int const window = info.global ? 0 : facts.window_size();
            typename ImageAttention<C>::Shape const shape{facts.heads(), window,
                                                          !V::relative_position ? 0
                                                          : info.global         ? facts.grid()
                                                                                : window};
            LowRankDelta q, v;
            if (merge) {
                SAMED_TRY(q, adapters::lora_delta(*merge, adapters::lora_names(info, QkvPart::q)));
                SAMED_TRY(v, adapters::lora_delta(*merge, adapters::lora_names(info, QkvPart::v)));
            }
            SAMED_TRY(Block<C> block,
                      Block<C>::load(of_blocks, info, shape, facts.mlp_width(), merge ? &q : nullptr, merge ? &v : nullptr));
            e.blocks_.push_back(std::move(block));
        }
        SAMED_TRY(e.neck_, Neck<C>::load(loader, facts.width(), facts.neck_width()));
        return e;
    }

    /// What an adapter file puts into the blocks' slots.
    /// @param with_qkv, base  as BlockAdapters::bind
    Result<Adapters> bind(WeightLoader<C>& loader, bool with_qkv, WeightLoader<C>* base) const {
        std::optional<WeightLoader<C>> copies;
        if (base) copies.emplace(base->for_blocks());
        Adapters bound;
        for (int i = 0; i < static_cast<int>(blocks_.size()); ++i) {
            SAMED_TRY(auto block, BlockAdapters<V, C>::bind(loader, block_info(i), with_qkv, copies ? &*copies : nullptr));
            bound.push_back(std::move(block));
        }
        return bound;
    }

    BlockInfo block_info(int index) const { return {index, facts_.is_global(index), facts_.width()}; }
    GridInfo grid(int batch) const { return {batch, 1, facts_.grid(), facts_.grid()}; }
    nn::PatchEmbed<C> const& patch_embed() const { return patch_embed_; }
    std::vector<Block<C>> const& blocks() const { return blocks_; }
    Neck<C> const& neck() const { return neck_; }

    /// @param image      [B, 3, S, S]
    /// @param embedding  [B, grid, grid, neck_width]
    /// @param adapters   one a block
    void operator()(C& context, int batch, Scalar const* image, Scalar* embedding, Adapters const& adapters) const {
        Arena::Frame frame(context.arena());
        GridInfo const g = grid(batch);
        Scalar* x = context.arena().template take<Scalar>(std::size_t(g.tokens()) * facts_.width());
        patch_embed_(context, batch, image, x);
        for (std::size_t i = 0; i < blocks_.size(); ++i) blocks_[i](context, g, x, adapters[i]);
        neck_(context, g, x, embedding);
    }

private:
    Facts<V::config> facts_;
    nn::PatchEmbed<C> patch_embed_;
    std::vector<Block<C>> blocks_;
    Neck<C> neck_;
};

}  // namespace samed::sam
