// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/train/tape.hpp>

namespace samed::train {

/// A weight [n, k] as forward and backward passes multiply by it: packed, and packed transposed.
template <TrainingBackend C>
class PackedPair {
public:
    using Scalar = typename C::Scalar;
    using Matrix = typename C::Matrix;

    /// @errors out_of_memory
    static Result<PackedPair> allocate(C& context, int n, int k) {
        PackedPair p;
        p.n_ = n;
        p.k_ = k;
        SAMED_TRY(p.forward_, C::allocate_weights(context.packed_bytes(n, k, Precision::f32)));
        SAMED_TRY(p.transposed_, C::allocate_weights(context.packed_bytes(k, n, Precision::f32)));
        return p;
    }
    /// @param source  [n, k]
    void renew(C& context, Scalar const* source) {
        using kernels::PackArgs;
        pack(context, PackArgs<Scalar>{n_, k_, source, false, k_, forward_.data()});
        pack(context, PackArgs<Scalar>{k_, n_, source, true, k_, transposed_.data()});
    }

    int n() const { return n_; }
    int k() const { return k_; }
    Matrix forward(C& context) const { return context.matrix(forward_.data(), n_, k_, Precision::f32); }
    Matrix transposed(C& context) const { return context.matrix(transposed_.data(), k_, n_, Precision::f32); }

private:
    int n_ = 0, k_ = 0;
    typename C::WeightSlab forward_{}, transposed_{};
};

/// y = x W^T + b. Also the weights of convolutions, whose rows are patches.
template <TrainingBackend C>
struct Linear {
    PackedPair<C> packed;
    Leaf<typename C::Scalar> weight;  ///< without values when frozen: the packed copies stay
    Leaf<typename C::Scalar> bias;    ///< without values: none

    int in() const { return packed.k(); }
    int out() const { return packed.n(); }
};

template <TrainingBackend C>
struct LayerNorm {
    Leaf<typename C::Scalar> weight, bias;
    int width = 0;
    typename C::Scalar eps{};
};

/// The decoder's attention: projections of q, k and v, and back.
template <TrainingBackend C>
struct Attention {
    Linear<C> q, k, v, out;
    int heads = 1;
};

/// q or v of a block: a frozen projection and its low-rank update.
template <TrainingBackend C>
struct LoraLinear {
    PackedPair<C> packed;
    Linear<C> a, b;  ///< [R, in], [out, R], no bias; without rows for k
};

/// The encoder's attention: its q, k and v as three where LoRA learns, as one where everything does.
template <TrainingBackend C>
struct ImageAttention {
    LoraLinear<C> q, k, v;
    Linear<C> qkv;                  ///< [3C, C]; without rows where LoRA learns
    Leaf<typename C::Scalar> bias;  ///< [3C]
    Leaf<typename C::Scalar> rel_pos_h, rel_pos_w;
    int heads = 1, window = 0;
};

}  // namespace samed::train
