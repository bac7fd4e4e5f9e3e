// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>

#include <samed/adapters/adapter.hpp>

namespace samed::adapters {

/// Whether LoRA is added to the weights (no cost per image) or computed beside them (no copy of the base).
enum class LoraMode { merged, live };

/// Where one q or v projection keeps its update and its base weight.
struct LoraNames {
    std::string a, b;    ///< [R, in], [out, R]
    std::string weight;  ///< [rows, in]; the projection is its rows [first_row, first_row + out)
    int in = 0, out = 0, rows = 0, first_row = 0;
};

/// SAMed's names: the encoder's q and v are parts of one packed weight.
inline LoraNames lora_names(BlockInfo const& block, QkvPart part) {
    std::string const qkv = "image_encoder.blocks." + std::to_string(block.index) + ".attn.qkv.", which = part == QkvPart::q ? "_q" : "_v";
    int const c = block.width;
    return {qkv + "linear_a" + which + ".weight", qkv + "linear_b" + which + ".weight", qkv + "weight", c, c, 3 * c,
            part == QkvPart::q ? 0 : 2 * c};
}

/// SAMed_s' names: the decoder's attentions have a weight a projection.
inline LoraNames lora_names(DecoderAttentionInfo const& attention, QkvPart part) {
    std::string const proj = attention.name + (part == QkvPart::q ? ".q_proj." : ".v_proj.");
    return {proj + "w_a.weight", proj + "w_b.weight", proj + "weight", attention.width, attention.inner, attention.inner, 0};
}

/// The update as plain numbers, for merging: W += B A. SAMed has no alpha / rank scale.
/// @errors missing_tensor, shape_mismatch, not_finite
template <Backend C>
Result<LowRankDelta> lora_delta(WeightLoader<C>& loader, LoraNames const& names) {
    LowRankDelta d;
    d.rank = loader.file().header().config.rank;
    SAMED_TRY(d.a, loader.host(names.a, {d.rank, names.in}));
    SAMED_TRY(d.b, loader.host(names.b, {names.out, d.rank}));
    return d;
}

/// The update of one projection: y += B A x beside the base's weight, or a merged weight in its place.
template <Backend C>
class LowRankUpdate {
public:
    using Scalar = typename C::Scalar;
    using Matrix = typename C::Matrix;

    static Result<LowRankUpdate> live(WeightLoader<C>& loader, LoraNames const& names) {
        LowRankUpdate u;
        u.rank_ = loader.file().header().config.rank;
        u.in_ = names.in;
        u.precision_ = loader.precision();
        // A backend that pads rows would keep R = 4 rows as 32: such an A stays as it is and is packed when used, for a
        // thousandth of the block's time. An adapter is then as large as its file.
        u.a_packed_ = u.rank_ % C::row_block == 0;
        if (u.a_packed_) {
            SAMED_TRY(u.a_, loader.linear(names.a, u.rank_, u.in_));
        } else {
            SAMED_TRY(u.a_rows_, loader.keep(names.a, {u.rank_, u.in_}));
        }
        SAMED_TRY(u.b_, loader.linear(names.b, names.out, u.rank_));
        return u;
    }

    /// A copy of the base's weight with the update added, in the memory of `base`.
    /// @param base  reads the base's file
    static Result<LowRankUpdate> merged(WeightLoader<C>& loader, WeightLoader<C>& base, LoraNames const& names) {
        LowRankUpdate u;
        SAMED_TRY(LowRankDelta const delta, lora_delta(loader, names));
        SAMED_TRY(u.merged_, base.rows(names.weight, names.rows, names.in, names.first_row, names.out, &delta));
        u.replaces_ = true;
        return u;
    }

    /// Scratch lives until the caller's arena frame ends.
    void apply(C& context, kernels::GemmArgs<Scalar, Matrix>& args) const {
        if (replaces_) {
            args.weight = merged_;
        } else if (rank_ > 0) {
            Arena& arena = context.arena();
            Scalar* xa = arena.template take<Scalar>(std::size_t(args.m) * rank_);
            kernels::GemmArgs<Scalar, Matrix> down;
            down.m = args.m;
            down.n = rank_;
            down.k = in_;
            down.a = args.a;
            down.a_stride = args.a_stride;
            down.out = xa;
            down.out_stride = rank_;
            Arena::Frame frame(arena);
            if (a_packed_) {
                down.weight = a_;
            } else {
                std::byte* const at = arena.template take<std::byte>(context.packed_bytes(rank_, in_, precision_));
                if (!context.planning()) context.pack_rows(at, rank_, in_, precision_, 0, rank_, a_rows_);
                down.weight = context.matrix(at, rank_, in_, precision_);
            }
            gemm(context, down);
            args.tail = {xa, rank_, b_, rank_};
        }
    }

private:
    Matrix a_{}, b_{}, merged_{};
    float const* a_rows_ = nullptr;
    int rank_ = 0, in_ = 0;
    Precision precision_ = Precision::f32;
    bool a_packed_ = true, replaces_ = false;
};

/// Low-rank update of an attention's projections: q += B_q A_q x, v += B_v A_v x; k is untouched. In the encoder's blocks as SAMed
/// has it, in the decoder's attentions as SAMed_s does.
/// @tparam Rank  R, 1.. or `dynamic`; a file of rank 0 (merged, or none) binds to nothing
/// @cost   4 * tokens * C * R multiply-adds a block when live, nothing when merged; no allocation
/// @source LoRA (Hu et al. 2021), section 4.1; SAMed (Zhang & Liu 2023), section 3.2
template <int Rank = dynamic>
struct LoraQv {
    using slots = Slots<slot::Qkv, slot::DecoderAttention>;
    static constexpr int rank = Rank;

    template <class C>
    class Bound {
    public:
        /// @param where  BlockInfo or DecoderAttentionInfo
        /// @param base   null: live; else reads the base's file, for merged copies
        template <class Where>
        static Result<Bound> bind(WeightLoader<C>& loader, Where const& where, WeightLoader<C>* base = nullptr) {
            Bound bound;
            if (loader.file().header().config.rank == 0) return bound;
            for (QkvPart part : {QkvPart::q, QkvPart::v}) {
                LoraNames const names = lora_names(where, part);
                LowRankUpdate<C>& update = part == QkvPart::q ? bound.q_ : bound.v_;
                if (base) {
                    SAMED_TRY(update, LowRankUpdate<C>::merged(loader, *base, names));
                } else {
                    SAMED_TRY(update, LowRankUpdate<C>::live(loader, names));
                }
            }
            return bound;
        }

        void qkv(C& context, QkvPart part, kernels::GemmArgs<typename C::Scalar, typename C::Matrix>& args) const {
            if (part != QkvPart::k) (part == QkvPart::q ? q_ : v_).apply(context, args);
        }

    private:
        LowRankUpdate<C> q_, v_;
    };
};

}  // namespace samed::adapters
