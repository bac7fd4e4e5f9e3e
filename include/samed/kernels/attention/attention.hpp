// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include <samed/core/types.hpp>

namespace samed::kernels {

/// 1 / sqrt(head_dim)
template <class T>
Arithmetic<T> attention_scale(int head_dim) {
    return Arithmetic<T>(1) / std::sqrt(Arithmetic<T>(head_dim));
}

/// softmax(scale * q k^T) v, the decoder's form: tokens attend to the image, the image to tokens, tokens to each other.
///
/// @param  q    [batch, queries, heads * head_dim], rows `q_stride` apart
/// @param  k, v [batch, keys, heads * head_dim], rows `k_stride`, `v_stride` apart
/// @param  out  [batch, queries, heads * head_dim], contiguous
/// @param  log_sum_exp  [batch, heads, queries] or null; kept for the backward pass
/// @cost   2 * batch * heads * queries * keys * head_dim multiply-adds
/// @source Segment Anything, appendix A "Lightweight mask decoder"
template <class T>
struct AttentionArgs {
    int batch = 1, heads = 0, head_dim = 0, queries = 0, keys = 0;
    T const* q = nullptr;
    T const* k = nullptr;
    T const* v = nullptr;
    std::int64_t q_stride = 0, k_stride = 0, v_stride = 0;
    Arithmetic<T> scale = 1;
    T* out = nullptr;
    T* log_sum_exp = nullptr;
};

/// Self attention of the image encoder with decomposed relative position, over windows or over the whole grid.
///
/// score(q, k) = scale * q.k + q.rel_pos_h[qy - ky + S - 1] + q.rel_pos_w[qx - kx + S - 1], with the UNSCALED q in the last two.
/// The grid is cut into `window` x `window` tiles from the top left. Positions of a tile outside the grid are padded tokens: as
/// keys they take part with `pad_key` and `pad_value` (SAM pads after norm1, so theirs are the qkv biases); as queries they are
/// never computed.
/// @param  qkv  [B, H, W, 3 * heads * head_dim]: q of all heads, then k, then v
/// @param  rel_pos_h, rel_pos_w  [2 * S - 1, head_dim] with S = window, or H and W when global; null = no relative position
/// @param  bias_table  [heads, S * S] or null: score(q, k) += bias_table[head][|qy - ky| * S_w + |qx - kx|], not with rel_pos
/// @param  pad_key, pad_value  [heads * head_dim]; may be null when the window divides the grid
/// @param  out  [B, H, W, heads * head_dim]
/// @param  log_sum_exp  [B, heads, H, W] or null; kept for the backward pass
/// @cost   2 * B * heads * head_dim * (real queries) * (S * S) multiply-adds; no N x N matrix outside the reference
/// @source Li et al. 2022 (ViTDet), section 3; segment-anything `Attention`, `window_partition`; for the table Graham et al. 2021
///         (LeViT), section 4.3, and TinyViT
template <class T>
struct ImageAttentionArgs {
    int batch = 1, height = 0, width = 0, heads = 0, head_dim = 0;
    int window = 0;  ///< 0 = global
    T const* qkv = nullptr;
    T const* rel_pos_h = nullptr;
    T const* rel_pos_w = nullptr;
    T const* bias_table = nullptr;
    T const* pad_key = nullptr;
    T const* pad_value = nullptr;
    Arithmetic<T> scale = 1;
    T* out = nullptr;
    T* log_sum_exp = nullptr;
};

namespace reference {

namespace detail {
/// In place; returns the log of the sum of exponentials.
template <class T>
T softmax(std::vector<T>& scores) {
    T const largest = *std::max_element(scores.begin(), scores.end());
    T sum = 0;
    for (T& s : scores) sum += s = std::exp(s - largest);
    for (T& s : scores) s /= sum;
    return largest + std::log(sum);
}
template <class T>
T dot(T const* a, T const* b, int n) {
    T sum = 0;
    for (int i = 0; i < n; ++i) sum = std::fma(a[i], b[i], sum);
    return sum;
}
}  // namespace detail

template <class T>
void attention(AttentionArgs<T> const& a) {
    std::vector<T> scores(static_cast<std::size_t>(a.keys));
    std::int64_t const width = std::int64_t{a.heads} * a.head_dim;
    for (int b = 0; b < a.batch; ++b)
        for (int head = 0; head < a.heads; ++head)
            for (int i = 0; i < a.queries; ++i) {
                std::int64_t const row = std::int64_t{b} * a.queries + i, first_key = std::int64_t{b} * a.keys;
                T const* q = a.q + row * a.q_stride + head * a.head_dim;
                for (int j = 0; j < a.keys; ++j)
                    scores[j] = a.scale * detail::dot(q, a.k + (first_key + j) * a.k_stride + head * a.head_dim, a.head_dim);
                T const lse = detail::softmax(scores);
                if (a.log_sum_exp) a.log_sum_exp[(std::int64_t{b} * a.heads + head) * a.queries + i] = lse;
                T* out = a.out + row * width + head * a.head_dim;
                for (int c = 0; c < a.head_dim; ++c) {
                    T sum = 0;
                    for (int j = 0; j < a.keys; ++j) sum = std::fma(scores[j], a.v[(first_key + j) * a.v_stride + head * a.head_dim + c], sum);
                    out[c] = sum;
                }
            }
}

template <class T>
void image_attention(ImageAttentionArgs<T> const& a) {
    int const rows = a.window ? a.window : a.height, columns = a.window ? a.window : a.width;
    std::int64_t const width = std::int64_t{a.heads} * a.head_dim;
    std::vector<T> scores(static_cast<std::size_t>(rows) * columns);
    auto token = [&](int b, int y, int x) { return a.qkv + ((std::int64_t{b} * a.height + y) * a.width + x) * 3 * width; };
    for (int b = 0; b < a.batch; ++b)
        for (int y = 0; y < a.height; ++y)
            for (int x = 0; x < a.width; ++x)
                for (int head = 0; head < a.heads; ++head) {
                    int const top = y / rows * rows, left = x / columns * columns;
                    std::int64_t const channel = std::int64_t{head} * a.head_dim;
                    T const* q = token(b, y, x) + channel;
                    auto inside = [&](int ky, int kx) { return ky < a.height && kx < a.width; };
                    for (int ky = top; ky < top + rows; ++ky)
                        for (int kx = left; kx < left + columns; ++kx) {
                            T const* k = (inside(ky, kx) ? token(b, ky, kx) + width : a.pad_key) + channel;
                            T score = a.scale * detail::dot(q, k, a.head_dim);
                            if (a.rel_pos_h)
                                score += detail::dot(q, a.rel_pos_h + std::int64_t{y - ky + rows - 1} * a.head_dim, a.head_dim) +
                                         detail::dot(q, a.rel_pos_w + std::int64_t{x - kx + columns - 1} * a.head_dim, a.head_dim);
                            if (a.bias_table) score += a.bias_table[std::int64_t{head} * rows * columns + std::abs(y - ky) * columns + std::abs(x - kx)];
                            scores[static_cast<std::size_t>(ky - top) * columns + (kx - left)] = score;
                        }
                    T const lse = detail::softmax(scores);
                    if (a.log_sum_exp) a.log_sum_exp[((std::int64_t{b} * a.heads + head) * a.height + y) * a.width + x] = lse;
                    T* out = a.out + ((std::int64_t{b} * a.height + y) * a.width + x) * width + channel;
                    for (int c = 0; c < a.head_dim; ++c) {
                        T sum = 0;
                        for (int ky = top; ky < top + rows; ++ky)
                            for (int kx = left; kx < left + columns; ++kx) {
                                T const* v = (inside(ky, kx) ? token(b, ky, kx) + 2 * width : a.pad_value) + channel;
                                sum = std::fma(scores[static_cast<std::size_t>(ky - top) * columns + (kx - left)], v[c], sum);
                            }
                        out[c] = sum;
                    }
                }
}

}  // namespace reference
}  // namespace samed::kernels
