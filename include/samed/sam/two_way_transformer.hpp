// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <samed/adapters/adapter.hpp>
#include <samed/nn/attention.hpp>
#include <samed/nn/layer_norm.hpp>
#include <samed/nn/mlp.hpp>

namespace samed::sam {

/// What systems do differently in the two-way transformer; SAM's way unless set.
struct TwoWayPolicy {
    kernels::Activation activation = kernels::Activation::relu;  ///< of the MLPs
    bool first_residual = false;                                 ///< the first self attention adds to its tokens instead of replacing them
    bool keep_query_pe = false;  ///< later layers add the position to the tokens for good: in values and residual too
};

/// Sizes of one call of the two-way transformer.
struct TwoWaySizes {
    int batch = 1, queries = 0, keys = 0;
};

/// The DecoderAttention slot, bound: three attentions a layer and the last one.
template <class Slot, Backend C>
struct TwoWayAdapters {
    using Bound = typename Slot::template Bound<C>;
    struct Layer {
        Bound self_attn{}, token_to_image{}, image_to_token{};
    };
    std::vector<Layer> layers;
    Bound final_attn{};

    /// @param name  of the transformer
    /// @param base  as adapters::bind
    static Result<TwoWayAdapters> bind(WeightLoader<C>& loader, std::string const& name, int depth, int width, WeightLoader<C>* base) {
        TwoWayAdapters t;
        auto const at = [&](std::string const& attention, int inner) {
            return adapters::bind<Slot>(loader, adapters::DecoderAttentionInfo{name + "." + attention, width, inner}, base);
        };
        t.layers.resize(static_cast<std::size_t>(depth));
        for (int i = 0; i < depth; ++i) {
            std::string const layer = "layers." + std::to_string(i) + ".";
            Layer& l = t.layers[static_cast<std::size_t>(i)];
            SAMED_TRY(l.self_attn, at(layer + "self_attn", width));
            SAMED_TRY(l.token_to_image, at(layer + "cross_attn_token_to_image", width / 2));
            SAMED_TRY(l.image_to_token, at(layer + "cross_attn_image_to_token", width / 2));
        }
        SAMED_TRY(t.final_attn, at("final_attn_token_to_image", width / 2));
        return t;
    }
};

/// One layer: tokens attend to themselves and to the image, pass an MLP, and the image attends to the tokens.
/// @source Segment Anything, appendix A "Lightweight mask decoder", figure 14
template <Backend C>
class TwoWayBlock {
public:
    using Scalar = typename C::Scalar;
    static constexpr double eps = 1e-5;  // the framework's default, unlike the image encoder's

    static Result<TwoWayBlock> load(WeightLoader<C>& loader, std::string const& name, int width, int heads, int mlp_width, bool first,
                                    TwoWayPolicy const& policy = {}) {
        TwoWayBlock b;
        b.width_ = width;
        b.first_ = first;
        b.policy_ = policy;
        SAMED_TRY(b.self_attn_, nn::Attention<C>::load(loader, name + ".self_attn", width, width, heads));
        SAMED_TRY(b.norm1_, nn::LayerNorm<C>::load(loader, name + ".norm1", width, eps));
        SAMED_TRY(b.token_to_image_, nn::Attention<C>::load(loader, name + ".cross_attn_token_to_image", width, width / 2, heads));
        SAMED_TRY(b.norm2_, nn::LayerNorm<C>::load(loader, name + ".norm2", width, eps));
        SAMED_TRY(b.mlp_, nn::Mlp<C>::load(loader, name + ".mlp", width, mlp_width, policy.activation));
        SAMED_TRY(b.norm3_, nn::LayerNorm<C>::load(loader, name + ".norm3", width, eps));
        SAMED_TRY(b.norm4_, nn::LayerNorm<C>::load(loader, name + ".norm4", width, eps));
        SAMED_TRY(b.image_to_token_, nn::Attention<C>::load(loader, name + ".cross_attn_image_to_token", width, width / 2, heads));
        return b;
    }

    /// @param queries   [B, queries, C], in and out
    /// @param keys      [B, keys, C], in and out
    /// @param query_pe  [B, queries, C]: the tokens as they entered the transformer
    /// @param key_pe    [keys, C]
    /// @param adapters  the DecoderAttention slot of this layer
    template <class Adapters = typename TwoWayAdapters<adapters::Identity, C>::Layer>
    void operator()(C& context, TwoWaySizes s, Scalar* queries, Scalar* keys, Scalar const* query_pe, Scalar const* key_pe,
                    Adapters const& adapters = {}) const {
        Arena& arena = context.arena();
        Arena::Frame frame(arena);
        std::int64_t const query_count = std::int64_t{s.batch} * s.queries * width_, image = std::int64_t{s.keys} * width_;
        Scalar* q = arena.template take<Scalar>(static_cast<std::size_t>(query_count));
        Scalar* k = arena.template take<Scalar>(static_cast<std::size_t>(s.batch * image));
        auto const add_pe = [&] { add(context, kernels::AddArgs<Scalar>{query_count, query_count, queries, query_pe, q}); };

        if (first_) {  // the tokens are their own position: no PE and, in SAM, no residual
            Scalar const* const residual = policy_.first_residual ? queries : nullptr;
            self_attn_(context, s.batch, s.queries, queries, s.queries, queries, queries, residual, queries, adapters.self_attn);
        } else if (policy_.keep_query_pe) {
            add(context, kernels::AddArgs<Scalar>{query_count, query_count, queries, query_pe, queries});
            self_attn_(context, s.batch, s.queries, queries, s.queries, queries, queries, queries, queries, adapters.self_attn);
        } else {
            add_pe();
            self_attn_(context, s.batch, s.queries, q, s.queries, q, queries, queries, queries, adapters.self_attn);
        }
        int const rows = s.batch * s.queries;
        norm1_(context, rows, queries, queries);

        add_pe();
        add(context, kernels::AddArgs<Scalar>{s.batch * image, image, keys, key_pe, k});
        token_to_image_(context, s.batch, s.queries, q, s.keys, k, keys, queries, queries, adapters.token_to_image);
        norm2_(context, rows, queries, queries);

        mlp_.add_to(context, rows, queries, queries);
        norm3_(context, rows, queries, queries);

        add_pe();
        image_to_token_(context, s.batch, s.keys, k, s.queries, q, queries, keys, keys, adapters.image_to_token);
        norm4_(context, std::int64_t{s.batch} * s.keys, keys, keys);
    }

private:
    int width_ = 0;
    bool first_ = false;
    TwoWayPolicy policy_;
    nn::Attention<C> self_attn_, token_to_image_, image_to_token_;
    nn::LayerNorm<C> norm1_, norm2_, norm3_, norm4_;
    nn::Mlp<C> mlp_;
};

/// Layers, then a last attention from the tokens to the image.
template <Backend C>
class TwoWayTransformer {
public:
    using Scalar = typename C::Scalar;

    static Result<TwoWayTransformer> load(WeightLoader<C>& loader, std::string const& name, int depth, int width, int heads, int mlp_width,
                                          TwoWayPolicy const& policy = {}) {
        TwoWayTransformer t;
        t.width_ = width;
        for (int i = 0; i < depth; ++i) {
            SAMED_TRY(TwoWayBlock<C> layer,
                      TwoWayBlock<C>::load(loader, name + ".layers." + std::to_string(i), width, heads, mlp_width, i == 0, policy));
            t.layers_.push_back(std::move(layer));
        }
        SAMED_TRY(t.final_attn_, nn::Attention<C>::load(loader, name + ".final_attn_token_to_image", width, width / 2, heads));
        SAMED_TRY(t.norm_final_, nn::LayerNorm<C>::load(loader, name + ".norm_final_attn", width, TwoWayBlock<C>::eps));
        return t;
    }

    std::vector<TwoWayBlock<C>> const& layers() const { return layers_; }

    /// Shapes as in TwoWayBlock.
    template <class Slot>
    void operator()(C& context, TwoWaySizes s, Scalar* queries, Scalar* keys, Scalar const* query_pe, Scalar const* key_pe,
                    TwoWayAdapters<Slot, C> const& adapters) const {
        for (std::size_t i = 0; i < layers_.size(); ++i) layers_[i](context, s, queries, keys, query_pe, key_pe, adapters.layers[i]);
        finish(context, s, queries, keys, query_pe, key_pe, adapters.final_attn);
    }

    /// The last attention alone, after all layers.
    template <class Adapter = nn::PlainQkv>
    void finish(C& context, TwoWaySizes s, Scalar* queries, Scalar const* keys, Scalar const* query_pe, Scalar const* key_pe,
                Adapter const& adapter = {}) const {
        Arena& arena = context.arena();
        Arena::Frame frame(arena);
        std::int64_t const query_count = std::int64_t{s.batch} * s.queries * width_, image = std::int64_t{s.keys} * width_;
        Scalar* q = arena.template take<Scalar>(static_cast<std::size_t>(query_count));
        Scalar* k = arena.template take<Scalar>(static_cast<std::size_t>(s.batch * image));
        add(context, kernels::AddArgs<Scalar>{query_count, query_count, queries, query_pe, q});
        add(context, kernels::AddArgs<Scalar>{s.batch * image, image, keys, key_pe, k});
        final_attn_(context, s.batch, s.queries, q, s.keys, k, keys, queries, queries, adapter);
        norm_final_(context, s.batch * s.queries, queries, queries);
    }

private:
    int width_ = 0;
    std::vector<TwoWayBlock<C>> layers_;
    nn::Attention<C> final_attn_;
    nn::LayerNorm<C> norm_final_;
};

}  // namespace samed::sam
