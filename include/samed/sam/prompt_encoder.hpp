// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <samed/config/facts.hpp>
#include <samed/nn/conv2d.hpp>
#include <samed/nn/layer_norm.hpp>
#include <samed/nn/position_embedding.hpp>
#include <samed/sam/prompts.hpp>

namespace samed::sam {

/// dense_embeddings: one vector for all cells (no mask prompt), or one a cell.
template <class T>
struct DenseEmbedding {
    T const* data = nullptr;
    std::int64_t period = 0;  ///< C, or grid * grid * C
};

/// Position encoding of the image embedding's cells. It depends on one small matrix that no adapter trains, so that a base keeps
/// it for all of its adapters.
template <Backend C>
struct ImagePe {
    std::vector<float> gaussian;                 ///< [2, C / 2]
    typename C::Scalar const* values = nullptr;  ///< [grid, grid, C]; null when the base's file has no prompt encoder

    static constexpr char name[] = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix";

    /// @param shared  taken where its matrix is this file's
    static Result<ImagePe> load(WeightLoader<C>& loader, int grid, int width, ImagePe const& shared = {}) {
        ImagePe pe;
        SAMED_TRY(pe.gaussian, loader.host(name, {2, width / 2}));
        if (shared.values && pe.gaussian == shared.gaussian) return shared;
        SAMED_TRY(pe.values, loader.place(nn::PositionEmbedding(pe.gaussian).dense(grid)));
        return pe;
    }
};

/// Points, boxes and masks become tokens and a dense embedding.
/// @source Segment Anything, appendix A "Prompt encoder"
template <Backend C>
class PromptEncoder {
public:
    using Scalar = typename C::Scalar;
    static constexpr PromptLimits limits{};

    /// Reads `prompt_encoder.*`.
    /// @param shared  used where its matrix is this file's
    static Result<PromptEncoder> load(WeightLoader<C>& loader, int image_size, int grid, int width, int mask_channels,
                                      ImagePe<C> const& shared = {}) {
        std::string const name = "prompt_encoder.";
        PromptEncoder p;
        p.image_size_ = image_size;
        p.grid_ = grid;
        p.width_ = width;
        p.mask_channels_ = mask_channels;
        SAMED_TRY(ImagePe<C> pe, ImagePe<C>::load(loader, grid, width, shared));
        p.image_pe_ = pe.values;
        p.position_ = nn::PositionEmbedding(std::move(pe.gaussian));
        for (int i = 0; i < 4; ++i) {
            SAMED_TRY(p.point_embeddings_[std::size_t(i)],
                      loader.host(name + "point_embeddings." + std::to_string(i) + ".weight", {1, width}));
        }
        SAMED_TRY(p.not_a_point_embed_, loader.host(name + "not_a_point_embed.weight", {1, width}));
        SAMED_TRY(p.no_mask_embed_, loader.vector(name + "no_mask_embed.weight", {1, width}));
        std::string const mask = name + "mask_downscaling.";
        int const half = mask_channels / 4;
        SAMED_TRY(p.mask_conv1_, nn::Conv2d<C>::load(loader, mask + "0", {1, half, 2, 2, 0}));
        SAMED_TRY(p.mask_norm1_, nn::LayerNorm<C>::load(loader, mask + "1", half, 1e-6));
        SAMED_TRY(p.mask_conv2_, nn::Conv2d<C>::load(loader, mask + "3", {half, mask_channels, 2, 2, 0}));
        SAMED_TRY(p.mask_norm2_, nn::LayerNorm<C>::load(loader, mask + "4", mask_channels, 1e-6));
        SAMED_TRY(p.mask_conv3_, nn::Conv2d<C>::load(loader, mask + "6", {mask_channels, width, 1, 1, 0}));
        return p;
    }

    /// Position encoding of the image embedding's cells, [grid, grid, C].
    Scalar const* image_pe() const { return image_pe_; }

    /// Tokens that prompts become.
    static int tokens(Prompts const& prompts) { return prompts.tokens(); }

    /// sparse_embeddings of points and box in model input pixels: [prompts.tokens(), C], on the host.
    std::vector<float> sparse(Prompts const& prompts) const {
        std::vector<float> tokens(std::size_t(prompts.tokens()) * width_);
        float* at = tokens.data();
        auto const padding = [&] { at = std::copy(not_a_point_embed_.begin(), not_a_point_embed_.end(), at); };
        for (Point const& p : prompts.points) {
            if (p.label < 0)
                padding();
            else
                at = encode(p.x, p.y, point_embeddings_[p.label == 1 ? 1 : 0], at);
        }
        if (!prompts.points.empty() && !prompts.box) padding();
        if (prompts.box) {
            at = encode(prompts.box->x0, prompts.box->y0, point_embeddings_[2], at);
            encode(prompts.box->x1, prompts.box->y1, point_embeddings_[3], at);
        }
        return tokens;
    }

    /// No mask prompt: the learned embedding of every cell.
    DenseEmbedding<Scalar> no_mask() const { return {no_mask_embed_, width_}; }

    /// Embedding of a mask prompt.
    /// @param mask  [4 grid, 4 grid] logits in the context's memory
    /// @param out   [grid, grid, C]
    DenseEmbedding<Scalar> dense(C& context, Scalar const* mask, Scalar* out) const {
        Arena& arena = context.arena();
        Arena::Frame frame(arena);
        int const half = mask_channels_ / 4, side = 4 * grid_;
        Scalar* first = arena.template take<Scalar>(std::size_t(2 * grid_) * 2 * grid_ * half);
        Scalar* second = arena.template take<Scalar>(std::size_t(grid_) * grid_ * mask_channels_);
        mask_conv1_(context, 1, side, side, mask, first);
        mask_norm1_(context, std::int64_t{4} * grid_ * grid_, first, first, kernels::Activation::gelu);
        mask_conv2_(context, 1, side / 2, side / 2, first, second);
        mask_norm2_(context, std::int64_t{grid_} * grid_, second, second, kernels::Activation::gelu);
        mask_conv3_(context, 1, grid_, grid_, second, out);
        return {out, std::int64_t{grid_} * grid_ * width_};
    }

private:
    float* encode(float x, float y, std::vector<float> const& type, float* out) const {
        position_.encode((double{x} + 0.5) / image_size_, (double{y} + 0.5) / image_size_, out);
        for (int c = 0; c < width_; ++c) out[c] += type[std::size_t(c)];
        return out + width_;
    }

    int image_size_ = 0, grid_ = 0, width_ = 0, mask_channels_ = 0;
    nn::PositionEmbedding position_;
    std::array<std::vector<float>, 4> point_embeddings_;  // background, foreground, top left, bottom right
    std::vector<float> not_a_point_embed_;
    Scalar const* no_mask_embed_ = nullptr;
    Scalar const* image_pe_ = nullptr;
    nn::Conv2d<C> mask_conv1_, mask_conv2_, mask_conv3_;
    nn::LayerNorm<C> mask_norm1_, mask_norm2_;
};

}  // namespace samed::sam
