// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include <samed/kernels/attention/attention.hpp>

namespace samed::kernels {

/// Backward of `attention`: probabilities are computed anew from the scores and `log_sum_exp`.
///
/// With P the probabilities and dS = P * (grad_out v^T - sum(grad_out * out)): grad_q += scale dS k, grad_k += scale dS^T q,
/// grad_v += P^T grad_out.
/// @param  forward   the arguments of the forward pass, `out` and `log_sum_exp` as it wrote them
/// @param  grad_out  [batch, queries, heads * head_dim], contiguous
/// @param  grad_q, grad_k, grad_v  as q, k and v, in their strides; added to
/// @cost   5 * batch * heads * queries * keys * head_dim multiply-adds
/// @source Dao et al. 2022 (FlashAttention), appendix B
template <class T>
struct AttentionBackwardArgs {
    AttentionArgs<T> forward{};
    T const* grad_out = nullptr;
    T* grad_q = nullptr;
    T* grad_k = nullptr;
    T* grad_v = nullptr;
};

/// Backward of `image_attention`, windows and relative position included; no `bias_table`. Where SAMed trains, the tables and the
/// padded token are frozen.
///
/// @param  forward   as above
/// @param  grad_out  [B, H, W, heads * head_dim]
/// @param  grad_qkv  [B, H, W, 3 * heads * head_dim], added to
/// @param  grad_rel_pos_h, grad_rel_pos_w  as the tables, both or neither; added to
/// @param  grad_pad_key, grad_pad_value    [heads * head_dim], both or neither; added to
/// @cost   5 * B * heads * head_dim * (real queries) * (S * S) multiply-adds; no N x N matrix outside the reference
template <class T>
struct ImageAttentionBackwardArgs {
    ImageAttentionArgs<T> forward{};
    T const* grad_out = nullptr;
    T* grad_qkv = nullptr;
    T* grad_rel_pos_h = nullptr;
    T* grad_rel_pos_w = nullptr;
    T* grad_pad_key = nullptr;
    T* grad_pad_value = nullptr;
};

namespace reference {

template <class T>
void attention_backward(AttentionBackwardArgs<T> const& g) {
    AttentionArgs<T> const& a = g.forward;
    std::int64_t const width = std::int64_t{a.heads} * a.head_dim;
    for (int b = 0; b < a.batch; ++b)
        for (int head = 0; head < a.heads; ++head)
            for (int i = 0; i < a.queries; ++i) {
                std::int64_t const row = std::int64_t{b} * a.queries + i, channel = std::int64_t{head} * a.head_dim;
                T const* q = a.q + row * a.q_stride + channel;
                T const* grad = g.grad_out + row * width + channel;
                T const lse = a.log_sum_exp[(std::int64_t{b} * a.heads + head) * a.queries + i];
                T const delta = detail::dot(grad, a.out + row * width + channel, a.head_dim);
                for (int j = 0; j < a.keys; ++j) {
                    std::int64_t const key = std::int64_t{b} * a.keys + j;
                    T const* k = a.k + key * a.k_stride + channel;
                    T const p = std::exp(a.scale * detail::dot(q, k, a.head_dim) - lse);
                    T const ds = a.scale * p * (detail::dot(grad, a.v + key * a.v_stride + channel, a.head_dim) - delta);
                    for (int c = 0; c < a.head_dim; ++c) {
                        g.grad_q[row * a.q_stride + channel + c] += ds * k[c];
                        g.grad_k[key * a.k_stride + channel + c] += ds * q[c];
                        g.grad_v[key * a.v_stride + channel + c] += p * grad[c];
                    }
                }
            }
}

template <class T>
void image_attention_backward(ImageAttentionBackwardArgs<T> const& g) {
    ImageAttentionArgs<T> const& a = g.forward;
    int const rows = a.window ? a.window : a.height, columns = a.window ? a.window : a.width;
    std::int64_t const width = std::int64_t{a.heads} * a.head_dim;
    auto const token = [&](int b, int y, int x) { return (std::int64_t{b} * a.height + y) * a.width + x; };
    for (int b = 0; b < a.batch; ++b)
        for (int y = 0; y < a.height; ++y)
            for (int x = 0; x < a.width; ++x)
                for (int head = 0; head < a.heads; ++head) {
                    std::int64_t const channel = std::int64_t{head} * a.head_dim, at = token(b, y, x);
                    T const* q = a.qkv + at * 3 * width + channel;
                    T const* grad = g.grad_out + at * width + channel;
                    T* grad_q = g.grad_qkv + at * 3 * width + channel;
                    T const lse = a.log_sum_exp[((std::int64_t{b} * a.heads + head) * a.height + y) * a.width + x];
                    T const delta = detail::dot(grad, a.out + at * width + channel, a.head_dim);
                    int const top = y / rows * rows, left = x / columns * columns;
                    for (int ky = top; ky < top + rows; ++ky)
                        for (int kx = left; kx < left + columns; ++kx) {
                            bool const inside = ky < a.height && kx < a.width;
                            std::int64_t const key = inside ? token(b, ky, kx) * 3 * width + width + channel : 0;
                            T const* k = inside ? a.qkv + key : a.pad_key + channel;
                            T const* v = inside ? a.qkv + key + width : a.pad_value + channel;
                            std::int64_t const row = std::int64_t{y - ky + rows - 1} * a.head_dim;
                            std::int64_t const column = std::int64_t{x - kx + columns - 1} * a.head_dim;
                            T const* h = a.rel_pos_h ? a.rel_pos_h + row : nullptr;
                            T const* w = a.rel_pos_w ? a.rel_pos_w + column : nullptr;
                            T* grad_k = inside ? g.grad_qkv + key : g.grad_pad_key ? g.grad_pad_key + channel : nullptr;
                            T* grad_v = inside ? g.grad_qkv + key + width : g.grad_pad_value ? g.grad_pad_value + channel : nullptr;
                            T score = a.scale * detail::dot(q, k, a.head_dim);
                            if (h) score += detail::dot(q, h, a.head_dim) + detail::dot(q, w, a.head_dim);
                            T const p = std::exp(score - lse), ds = p * (detail::dot(grad, v, a.head_dim) - delta);
                            for (int c = 0; c < a.head_dim; ++c) {
                                grad_q[c] += ds * (a.scale * k[c] + (h ? h[c] + w[c] : T(0)));
                                if (g.grad_rel_pos_h) g.grad_rel_pos_h[row + c] += ds * q[c];
                                if (g.grad_rel_pos_w) g.grad_rel_pos_w[column + c] += ds * q[c];
                                if (grad_k) grad_k[c] += ds * a.scale * q[c];
                                if (grad_v) grad_v[c] += p * grad[c];
                            }
                        }
                }
}

}  // namespace reference
}  // namespace samed::kernels
