// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cmath>
#include <string>

#include <samed/adapters/lora.hpp>
#include <samed/nn/linear.hpp>

namespace samed::sam {

using adapters::BlockInfo;
using adapters::GridInfo;
using adapters::QkvPart;

/// The image encoder's self attention: windowed or global, with decomposed relative position.
///
/// SAM's one qkv matrix is held as three, so that an adapter copies q and v alone. Padded tokens of windows never pass the
/// projection: SAM pads with zeros after norm1, hence their key and value are the biases.
/// @source Segment Anything, appendix A "Image encoder"; segment-anything `Attention`
template <Backend C>
class ImageAttention {
public:
    using Scalar = typename C::Scalar;
    using Matrix = typename C::Matrix;

    struct Shape {
        int heads = 1;
        int window = 0;               ///< 0 = global
        int rel_pos_size = 0;         ///< S of the tables [2 * S - 1, head_dim]; 0 = no relative position
    };

    /// Reads `<name>.{qkv,proj}` and `<name>.rel_pos_{h,w}`; `q` and `v` are added to those parts while they are read.
    static Result<ImageAttention> load(WeightLoader<C>& loader, std::string const& name, BlockInfo const& block, Shape shape,
                                       LowRankDelta const* q = nullptr, LowRankDelta const* v = nullptr) {
        ImageAttention a;
        a.shape_ = shape;
        a.width_ = block.width;
        int const c = block.width, head_dim = c / shape.heads;
        SAMED_CHECK(loader.check_head_dim(name, head_dim));
        LowRankDelta const* deltas[] = {q, nullptr, v};
        for (int part = 0; part < 3; ++part) {
            SAMED_TRY(a.qkv_[std::size_t(part)], loader.rows(name + ".qkv.weight", 3 * c, c, part * c, c, deltas[part]));
        }
        SAMED_TRY(a.bias_, loader.vector(name + ".qkv.bias", {3 * c}));
        SAMED_TRY(a.proj_, nn::Linear<C>::load(loader, name + ".proj", c, c));
        if (shape.rel_pos_size == 0) return a;
        SAMED_TRY(a.rel_pos_h_, loader.vector(name + ".rel_pos_h", {2 * shape.rel_pos_size - 1, head_dim}));
        SAMED_TRY(a.rel_pos_w_, loader.vector(name + ".rel_pos_w", {2 * shape.rel_pos_size - 1, head_dim}));
        return a;
    }

    nn::Linear<C> const& proj() const { return proj_; }

    /// y = softmax(...) v, before the output projection.
    /// @param x  [B, H, W, C], normalised tokens
    /// @param y  [B, H, W, C]
    /// @param qkv_slot  edits the projections; see slot::Qkv
    template <class QkvSlot>
    void operator()(C& context, GridInfo grid, Scalar const* x, Scalar* y, QkvSlot const& qkv_slot) const {
        Arena& arena = context.arena();
        Arena::Frame frame(arena);
        int const tokens = grid.tokens();
        Scalar* qkv = arena.template take<Scalar>(std::size_t(tokens) * 3 * width_);  // [B, H, W, 3C]
        for (QkvPart part : {QkvPart::q, QkvPart::k, QkvPart::v}) {
            Arena::Frame tail(arena);
            int const p = static_cast<int>(part);
            kernels::GemmArgs<Scalar, Matrix> a;
            a.m = tokens;
            a.n = a.k = width_;
            a.a = x;
            a.a_stride = width_;
            a.weight = qkv_[std::size_t(p)];
            a.bias = bias_ + std::int64_t{p} * width_;
            a.out = qkv + std::int64_t{p} * width_;
            a.out_stride = 3 * std::int64_t{width_};
            if constexpr (requires { qkv_slot.qkv(context, part, a); }) qkv_slot.qkv(context, part, a);
            gemm(context, a);
        }
        kernels::ImageAttentionArgs<Scalar> a;
        a.batch = grid.batch * grid.depth;
        a.height = grid.height;
        a.width = grid.width;
        a.heads = shape_.heads;
        a.head_dim = width_ / shape_.heads;
        a.window = shape_.window;
        a.qkv = qkv;
        a.rel_pos_h = rel_pos_h_;
        a.rel_pos_w = rel_pos_w_;
        a.pad_key = bias_ + width_;
        a.pad_value = bias_ + 2 * std::int64_t{width_};
        a.scale = kernels::attention_scale<Scalar>(a.head_dim);
        a.out = y;
        image_attention(context, a);
    }

private:
    Shape shape_;
    int width_ = 0;
    std::array<Matrix, 3> qkv_{};
    Scalar const* bias_ = nullptr;
    Scalar const* rel_pos_h_ = nullptr;
    Scalar const* rel_pos_w_ = nullptr;
    nn::Linear<C> proj_;
};

}  // namespace samed::sam
