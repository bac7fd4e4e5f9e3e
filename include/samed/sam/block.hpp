// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>

#include <samed/nn/layer_norm.hpp>
#include <samed/nn/mlp.hpp>
#include <samed/sam/image_attention.hpp>

namespace samed::sam {

/// The adapters of one block, bound to their weights.
template <class V, Backend C>
struct BlockAdapters {
    typename V::Qkv::template Bound<C> qkv{};
    typename V::AttnOut::template Bound<C> attn_out{};
    typename V::MlpOut::template Bound<C> mlp_out{};

    /// @param with_qkv  false leaves the Qkv slot empty: its update is inside the base's weights
    /// @param base      as adapters::bind
    static Result<BlockAdapters> bind(WeightLoader<C>& loader, BlockInfo const& block, bool with_qkv, WeightLoader<C>* base) {
        BlockAdapters b;
        if (with_qkv) {
            SAMED_TRY(b.qkv, adapters::bind<typename V::Qkv>(loader, block, base));
        }
        SAMED_TRY(b.attn_out, adapters::bind<typename V::AttnOut>(loader, block, base));
        SAMED_TRY(b.mlp_out, adapters::bind<typename V::MlpOut>(loader, block, base));
        return b;
    }
};

/// One transformer block: x += attention(norm1(x)); x += mlp(norm2(x)).
/// @source Dosovitskiy et al. 2021 (ViT), section 3.1; Segment Anything, appendix A
template <Backend C>
class Block {
public:
    using Scalar = typename C::Scalar;
    static constexpr double eps = 1e-6;

    static Result<Block> load(WeightLoader<C>& loader, BlockInfo const& info, typename ImageAttention<C>::Shape attention, int mlp_width,
                              LowRankDelta const* q, LowRankDelta const* v) {
        std::string const name = "image_encoder.blocks." + std::to_string(info.index);
        Block b;
        b.width_ = info.width;
        SAMED_TRY(b.norm1_, nn::LayerNorm<C>::load(loader, name + ".norm1", info.width, eps));
        SAMED_TRY(b.attention_, ImageAttention<C>::load(loader, name + ".attn", info, attention, q, v));
        SAMED_TRY(b.norm2_, nn::LayerNorm<C>::load(loader, name + ".norm2", info.width, eps));
        SAMED_TRY(b.mlp_, nn::Mlp<C>::load(loader, name + ".mlp", info.width, mlp_width, kernels::Activation::gelu));
        return b;
    }

    /// @param x  [B, H, W, C], in and out
    template <class V>
    void operator()(C& context, GridInfo grid, Scalar* x, BlockAdapters<V, C> const& adapters) const {
        Arena::Frame frame(context.arena());
        int const tokens = grid.tokens();
        Scalar* y = context.arena().template take<Scalar>(std::size_t(tokens) * width_);
        Scalar* attended = context.arena().template take<Scalar>(std::size_t(tokens) * width_);
        norm1_(context, tokens, x, y);
        attention_(context, grid, y, attended, adapters.qkv);
        if constexpr (adapters::CallsAttnOut<typename V::AttnOut, C>) {
            attention_.proj()(context, tokens, attended, y);
            adapters.attn_out.attn_out(context, grid, y);
            std::int64_t const count = std::int64_t{tokens} * width_;
            add(context, kernels::AddArgs<Scalar>{count, count, x, y, x});
        } else {
            attention_.proj().add_to(context, tokens, attended, x);
        }
        norm2_(context, tokens, x, y);
        mlp_.add_to(context, tokens, y, x);
        if constexpr (adapters::CallsMlpOut<typename V::MlpOut, C>) adapters.mlp_out.mlp_out(context, grid, y, x);
    }

private:
    int width_ = 0;
    nn::LayerNorm<C> norm1_, norm2_;
    ImageAttention<C> attention_;
    nn::Mlp<C> mlp_;
};

}  // namespace samed::sam
