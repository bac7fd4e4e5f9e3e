// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>

#include <samed/adapters/adapter.hpp>

namespace samed::adapters {

/// Whether LoRA is added to the weights at load (no cost per image) or computed beside them (no copy of the base).
enum class LoraMode { merged, live };

namespace detail {
inline std::string lora_name(int block, char const* matrix, QkvPart part) {
    return "image_encoder.blocks." + std::to_string(block) + ".attn.qkv.linear_" + matrix + (part == QkvPart::q ? "_q" : "_v") + ".weight";
}
}  // namespace detail

/// The update of one block's q or v as plain numbers, for merging: W += B A. SAMed has no alpha / rank scale.
/// @errors missing_tensor, shape_mismatch, not_finite
template <Backend C>
Result<LowRankDelta> lora_delta(WeightLoader<C>& loader, BlockInfo const& block, QkvPart part) {
    LowRankDelta d;
    d.rank = loader.file().header().config.rank;
    SAMED_TRY(d.a, loader.host(detail::lora_name(block.index, "a", part), {d.rank, block.width}));
    SAMED_TRY(d.b, loader.host(detail::lora_name(block.index, "b", part), {block.width, d.rank}));
    return d;
}

/// Low-rank update of the packed qkv projection: q += B_q A_q x, v += B_v A_v x; k is untouched.
/// @tparam Rank  R, 1.. or `dynamic`; a file of rank 0 (merged, or none) binds to nothing
/// @cost   4 * tokens * C * R multiply-adds a block when live, nothing when merged; no allocation
/// @source LoRA (Hu et al. 2021), section 4.1; SAMed (Zhang & Liu 2023), section 3.2
template <int Rank = dynamic>
struct LoraQv {
    using slots = Slots<slot::Qkv>;
    static constexpr int rank = Rank;

    template <class C>
    class Bound {
    public:
        using Scalar = typename C::Scalar;
        using Matrix = typename C::Matrix;

        /// Live: reads A and B of the block. A file of rank 0 gives an empty update.
        static Result<Bound> bind(WeightLoader<C>& loader, BlockInfo const& block) {
            Bound bound;
            bound.width_ = block.width;
            bound.rank_ = loader.file().header().config.rank;
            if (bound.rank_ == 0) return bound;
            for (QkvPart part : {QkvPart::q, QkvPart::v}) {
                Low& low = part == QkvPart::q ? bound.q_ : bound.v_;
                SAMED_TRY(low.a, loader.linear(detail::lora_name(block.index, "a", part), bound.rank_, block.width));
                SAMED_TRY(low.b, loader.linear(detail::lora_name(block.index, "b", part), block.width, bound.rank_));
            }
            return bound;
        }

        /// Merged copies of q and v in place of the base's, for an adapter on a shared base.
        void replace(Matrix q, Matrix v) {
            replaced_ = true;
            q_.merged = q;
            v_.merged = v;
        }

        void qkv(C& context, QkvPart part, kernels::GemmArgs<Scalar, Matrix>& args) const {
            if (part == QkvPart::k) return;
            Low const& low = part == QkvPart::q ? q_ : v_;
            if (replaced_) {
                args.weight = low.merged;
            } else if (rank_ > 0) {
                Scalar* xa = context.arena().template take<Scalar>(std::size_t(args.m) * rank_);
                kernels::GemmArgs<Scalar, Matrix> down;
                down.m = args.m;
                down.n = rank_;
                down.k = width_;
                down.a = args.a;
                down.a_stride = args.a_stride;
                down.weight = low.a;
                down.out = xa;
                down.out_stride = rank_;
                gemm(context, down);
                args.tail = {xa, rank_, low.b, rank_};
            }
        }

    private:
        struct Low {
            Matrix a{}, b{}, merged{};
        };
        Low q_, v_;
        int rank_ = 0, width_ = 0;
        bool replaced_ = false;
    };
};

}  // namespace samed::adapters
