// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <samed/config/facts.hpp>
#include <samed/nn/conv2d.hpp>
#include <samed/nn/group_norm.hpp>
#include <samed/sam/prompt_encoder.hpp>
#include <samed/sam/two_way_transformer.hpp>

namespace samed::sam {

inline constexpr char transformer_name[] = "mask_decoder.transformer";

/// What systems do differently in the mask decoder; this is SAM's way.
struct SamDecoder {
    static constexpr TwoWayPolicy two_way{};
    static constexpr kernels::Activation head_activation = kernels::Activation::relu;  ///< of hypernetworks and IoU head
    static constexpr bool group_norm = false;  ///< the upscaling normalises the whole image instead of each pixel
};

namespace detail {
/// The norm between the two upscaling layers.
template <Backend C, bool Group>
struct UpscaleNorm {
    nn::LayerNorm<C> norm;
    Result<void> load(WeightLoader<C>& loader, std::string const& name, int width) {
        SAMED_TRY(norm, nn::LayerNorm<C>::load(loader, name, width, 1e-6));
        return {};
    }
    void operator()(C& context, int batch, std::int64_t pixels, typename C::Scalar* x) const {
        norm(context, batch * pixels, x, x, kernels::Activation::gelu);
    }
};
template <Backend C>
struct UpscaleNorm<C, true> {
    nn::GroupNorm<C> norm;
    Result<void> load(WeightLoader<C>& loader, std::string const& name, int width) {
        SAMED_TRY(norm, nn::GroupNorm<C>::load(loader, name, width));
        return {};
    }
    void operator()(C& context, int batch, std::int64_t pixels, typename C::Scalar* x) const {
        norm(context, batch, pixels, x, x, kernels::Activation::gelu);
    }
};
}  // namespace detail

/// Image embedding and prompts to M masks: SAM's ambiguous masks, or SAMed's classes.
/// @source Segment Anything, appendix A "Lightweight mask decoder"; SAMed, section 3.3
/// @tparam Slot    what fills DecoderAttention
/// @tparam Policy  see SamDecoder
template <Backend C, class Slot = adapters::Identity, class Policy = SamDecoder>
class MaskDecoder {
public:
    using Scalar = typename C::Scalar;

    /// Reads `mask_decoder.*`. Every width follows from the embedding's; SAM's IoU head has the embedding's width too.
    /// @param shared  a transformer that the base owns, or null: read it from this file
    /// @param base    as adapters::bind, for the slot
    static Result<MaskDecoder> load(WeightLoader<C>& loader, int width, DecoderConfig const& config,
                                    TwoWayTransformer<C> const* shared = nullptr, WeightLoader<C>* base = nullptr) {
        std::string const name = "mask_decoder.";
        MaskDecoder d;
        d.width_ = width;
        d.masks_ = config.mask_tokens;
        if (shared) {
            d.transformer_ = *shared;
        } else {
            SAMED_TRY(d.transformer_, TwoWayTransformer<C>::load(loader, transformer_name, config.depth, width, config.heads,
                                                                 config.mlp_width, Policy::two_way));
        }
        SAMED_TRY(d.adapters_, (TwoWayAdapters<Slot, C>::bind(loader, transformer_name, config.depth, width, base)));
        SAMED_TRY(std::vector<float> tokens, loader.host(name + "iou_token.weight", {1, width}));
        SAMED_TRY(std::vector<float> const mask_tokens, loader.host(name + "mask_tokens.weight", {config.mask_tokens, width}));
        tokens.insert(tokens.end(), mask_tokens.begin(), mask_tokens.end());
        SAMED_TRY(d.output_tokens_, loader.place(tokens));
        SAMED_TRY(d.upscale1_, nn::ConvTranspose2d<C>::load(loader, name + "output_upscaling.0", width, width / 4));
        SAMED_CHECK(d.upscale_norm_.load(loader, name + "output_upscaling.1", width / 4));
        SAMED_TRY(d.upscale2_, nn::ConvTranspose2d<C>::load(loader, name + "output_upscaling.3", width / 4, width / 8));
        for (int m = 0; m < config.mask_tokens; ++m) {
            SAMED_TRY(nn::Mlp3<C> mlp, nn::Mlp3<C>::load(loader, name + "output_hypernetworks_mlps." + std::to_string(m), width, width,
                                                         width / 8, Policy::head_activation));
            d.hypernetworks_.push_back(std::move(mlp));
        }
        SAMED_TRY(d.iou_head_,
                  nn::Mlp3<C>::load(loader, name + "iou_prediction_head", width, width, config.mask_tokens, Policy::head_activation));
        return d;
    }

    int masks() const { return masks_; }
    int tokens(int sparse) const { return 1 + masks_ + sparse; }
    TwoWayTransformer<C> const& transformer() const { return transformer_; }
    TwoWayAdapters<Slot, C> const& adapters() const { return adapters_; }

    /// tokens = [iou, masks, sparse] for every image of the batch: [B, tokens, C].
    /// @param sparse  [sparse_count, C], in the context's memory, the same for every image
    void assemble(C& context, int batch, int sparse_count, Scalar const* sparse, Scalar* out) const {
        std::int64_t const own = std::int64_t{1 + masks_} * width_, extra = std::int64_t{sparse_count} * width_;
        for (int b = 0; b < batch; ++b) {
            context.copy(own, output_tokens_, out + b * (own + extra));
            if (extra) context.copy(extra, sparse, out + b * (own + extra) + own);
        }
    }

    /// output_upscaling: [B, g, g, C] to [B, 4g, 4g, C / 8].
    void upscale(C& context, int batch, int grid, Scalar const* image, Scalar* out) const {
        Arena::Frame frame(context.arena());
        std::int64_t const pixels = std::int64_t{4} * grid * grid;
        Scalar* middle = context.arena().template take<Scalar>(static_cast<std::size_t>(batch * pixels * (width_ / 4)));
        upscale1_(context, batch, grid, grid, image, middle);
        upscale_norm_(context, batch, pixels, middle);
        upscale2_(context, batch, 2 * grid, 2 * grid, middle, out, kernels::Activation::gelu);
    }

    /// Each mask token through its own MLP: [B, M, C / 8].
    /// @param queries  [B, tokens, C], the transformer's output
    void hyper(C& context, int batch, int token_count, Scalar const* queries, Scalar* out) const {
        for (int m = 0; m < masks_; ++m)
            hypernetworks_[std::size_t(m)](context, batch, queries + std::int64_t{1 + m} * width_, std::int64_t{token_count} * width_,
                                           out + std::int64_t{m} * (width_ / 8), std::int64_t{masks_} * (width_ / 8));
    }

    /// @param embedding       [B, g, g, C]
    /// @param image_pe        [g, g, C]
    /// @param sparse          [sparse_count, C] or null
    /// @param dense           added to the embedding
    /// @param low_res_logits  [B, M, 4g, 4g]
    /// @param iou             [B, M] predicted IoU, or null: SAMed has no use for it
    void operator()(C& context, int batch, int grid, Scalar const* embedding, Scalar const* image_pe, int sparse_count,
                    Scalar const* sparse, DenseEmbedding<Scalar> dense, Scalar* low_res_logits, Scalar* iou) const {
        decode(context, batch, grid, image_pe, sparse_count, low_res_logits, iou, [&](Scalar* query_pe, Scalar* keys) {
            assemble(context, batch, sparse_count, sparse, query_pe);
            add(context, kernels::AddArgs<Scalar>{std::int64_t{batch} * grid * grid * width_, dense.period, embedding, dense.data, keys});
        });
    }

    /// One image under several prompts of as many tokens, without masks.
    /// @param embedding       [g, g, C]
    /// @param sparse          [prompts, sparse_count, C]
    /// @param low_res_logits  [prompts, M, 4g, 4g]
    /// @param iou             [prompts, M]
    void each(C& context, int prompts, int grid, Scalar const* embedding, Scalar const* image_pe, int sparse_count, Scalar const* sparse,
              DenseEmbedding<Scalar> dense, Scalar* low_res_logits, Scalar* iou) const {
        decode(context, prompts, grid, image_pe, sparse_count, low_res_logits, iou, [&](Scalar* query_pe, Scalar* keys) {
            std::int64_t const image = std::int64_t{grid} * grid * width_, extra = std::int64_t{sparse_count} * width_;
            for (int p = 0; p < prompts; ++p) {
                assemble(context, 1, sparse_count, sparse + p * extra, query_pe + p * std::int64_t{tokens(sparse_count)} * width_);
                add(context, kernels::AddArgs<Scalar>{image, dense.period, embedding, dense.data, keys + p * image});
            }
        });
    }

private:
    /// @param fill  writes the tokens [B, tokens, C] and the image's keys [B, g * g, C] as they enter the transformer
    template <class Fill>
    void decode(C& context, int batch, int grid, Scalar const* image_pe, int sparse_count, Scalar* low_res_logits, Scalar* iou,
                Fill const& fill) const {
        Arena& arena = context.arena();
        Arena::Frame frame(arena);
        int const token_count = tokens(sparse_count), cells = grid * grid;
        TwoWaySizes const sizes{batch, token_count, cells};
        std::size_t const query_count = std::size_t(batch) * token_count * width_;
        Scalar* query_pe = arena.template take<Scalar>(query_count);
        Scalar* queries = arena.template take<Scalar>(query_count);
        Scalar* keys = arena.template take<Scalar>(std::size_t(batch) * cells * width_);
        fill(query_pe, keys);
        context.copy(static_cast<std::int64_t>(query_count), query_pe, queries);
        transformer_(context, sizes, queries, keys, query_pe, image_pe, adapters_);

        Scalar* upscaled = arena.template take<Scalar>(std::size_t(16) * batch * cells * (width_ / 8));
        Scalar* vectors = arena.template take<Scalar>(std::size_t(batch) * masks_ * (width_ / 8));
        upscale(context, batch, grid, keys, upscaled);
        hyper(context, batch, token_count, queries, vectors);
        mask_product(context, kernels::MaskProductArgs<Scalar>{batch, masks_, 16 * cells, width_ / 8, vectors, upscaled, low_res_logits});
        if (iou) iou_head_(context, batch, queries, std::int64_t{token_count} * width_, iou, masks_);
    }

    int width_ = 0, masks_ = 0;
    TwoWayTransformer<C> transformer_;
    TwoWayAdapters<Slot, C> adapters_;
    Scalar const* output_tokens_ = nullptr;  // [1 + M, C]: iou token, mask tokens
    nn::ConvTranspose2d<C> upscale1_, upscale2_;
    detail::UpscaleNorm<C, Policy::group_norm> upscale_norm_;
    std::vector<nn::Mlp3<C>> hypernetworks_;
    nn::Mlp3<C> iou_head_;
};

}  // namespace samed::sam
