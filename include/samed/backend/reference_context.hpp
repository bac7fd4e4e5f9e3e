// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <vector>

#include <samed/backend/backend.hpp>
#include <samed/backend/context_arena.hpp>

namespace samed {

/// Plain loops, float or double, one thread: the meaning of every op, and the oracle of every twin.
template <class T>
class ReferenceContext : public ContextArena {
public:
    using Scalar = T;
    using Matrix = kernels::DenseMatrix<T>;
    static constexpr int row_block = 1;

    Executor& executor() { return executor_; }

    std::size_t packed_bytes(int n, int k, Precision) const { return std::size_t(n) * std::size_t(k) * sizeof(T); }
    void pack_rows(std::byte* at, int, int k, Precision precision, int first_row, int rows, float const* source) const {
        T* out = reinterpret_cast<T*>(at) + std::size_t(first_row) * k;
        std::vector<std::int8_t> levels(precision == Precision::int8 ? std::size_t(k) : 0);
        for (int row = 0; row < rows; ++row, source += k, out += k) {
            float const scale = precision == Precision::int8 ? kernels::reference::quantise_channel(source, k, levels.data()) : 0.0f;
            for (int i = 0; i < k; ++i)
                out[i] = precision == Precision::int8 ? T(scale) * T(levels[std::size_t(i)]) : T(rounded(source[i], precision));
        }
    }
    Matrix matrix(std::byte const* at, int n, int k, Precision precision) const { return {reinterpret_cast<T const*>(at), n, k, precision}; }
    void upload(T* at, float const* source, std::size_t count) const {
        for (std::size_t i = 0; i < count; ++i) at[i] = T(source[i]);
    }

private:
    static float rounded(float x, Precision precision) {
        if (precision == Precision::f16) return to_f32(to_f16(x));
        if (precision == Precision::bf16 || precision == Precision::bf16_products) return to_f32(to_bf16(x));
        return x;
    }

    InlineExecutor executor_;
};

namespace kernels {

template <class T> void gemm(ReferenceContext<T>& c, GemmArgs<T, DenseMatrix<T>> const& a) { if (!c.planning()) reference::gemm(a); }
template <class T> void layer_norm(ReferenceContext<T>& c, LayerNormArgs<T> const& a) { if (!c.planning()) reference::layer_norm(a); }
template <class T> void attention(ReferenceContext<T>& c, AttentionArgs<T> const& a) { if (!c.planning()) reference::attention(a); }
template <class T> void image_attention(ReferenceContext<T>& c, ImageAttentionArgs<T> const& a) { if (!c.planning()) reference::image_attention(a); }
template <class T> void conv2d(ReferenceContext<T>& c, Conv2dArgs<T, DenseMatrix<T>> const& a) { if (!c.planning()) reference::conv2d(a); }
template <class T> void conv_transpose2d(ReferenceContext<T>& c, ConvTranspose2dArgs<T, DenseMatrix<T>> const& a) { if (!c.planning()) reference::conv_transpose2d(a); }
template <class T> void depthwise_conv2d(ReferenceContext<T>& c, DepthwiseConv2dArgs<T> const& a) { if (!c.planning()) reference::depthwise_conv2d(a); }
template <class T> void group_norm(ReferenceContext<T>& c, GroupNormArgs<T> const& a) { if (!c.planning()) reference::group_norm(a); }
template <class T> void mask_product(ReferenceContext<T>& c, MaskProductArgs<T> const& a) { if (!c.planning()) reference::mask_product(a); }
template <class T> void add(ReferenceContext<T>& c, AddArgs<T> const& a) { if (!c.planning()) reference::add(a); }
template <class T> void bilinear(ReferenceContext<T>& c, BilinearArgs<T> const& a) { if (!c.planning()) reference::bilinear(a); }
template <class T> void argmax(ReferenceContext<T>& c, ArgmaxArgs<T> const& a) { if (!c.planning()) reference::argmax(a); }

}  // namespace kernels

static_assert(Backend<ReferenceContext<float>>);

}  // namespace samed
