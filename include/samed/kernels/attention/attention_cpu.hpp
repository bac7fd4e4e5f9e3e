// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include <samed/kernels/attention/attention.hpp>
#include <samed/kernels/attention/attention_task.hpp>
#include <samed/kernels/gemm/gemm_cpu.hpp>

#define SAMED_SIMD_FILE <samed/kernels/attention/attention_simd.inc>
#include <samed/core/simd/for_each_isa.hpp>

namespace samed::kernels {

/// Parts of `queries` in whole panels of 32, so that `heads` heads of them keep all workers busy to the end.
inline int attention_chunks(int queries, int heads, int workers) {
    int const panels = (queries + 31) / 32;
    return std::clamp((8 * workers + heads - 1) / heads, 1, std::max(1, panels));
}

inline void attention(CpuContext& c, AttentionArgs<float> const& a) {
    if (a.queries == 0 || a.batch == 0) return;
    int const workers = c.executor().workers(), heads = a.batch * a.heads;
    int const chunks = a.queries > a.keys ? attention_chunks(a.queries, heads, workers) : 1;  // each chunk packs all keys
    int const panels = (a.queries + 31) / 32, most = std::min(a.queries, (panels + chunks - 1) / chunks * 32);
    Arena::Frame frame(c.arena());
    AttentionScratch const scratch = AttentionScratch::take(c.arena(), workers, most, a.keys, a.head_dim, 0, 0, false);
    if (c.planning()) return;
    std::int64_t const width = std::int64_t{a.heads} * a.head_dim;
    auto const run = [&](int index, int worker) {
        int const chunk = index % chunks, head = index / chunks % a.heads, b = index / chunks / a.heads;
        int const first = static_cast<int>(std::int64_t{chunk} * panels / chunks) * 32;
        int const last = std::min(a.queries, static_cast<int>(std::int64_t{chunk + 1} * panels / chunks) * 32);
        std::int64_t const channel = std::int64_t{head} * a.head_dim, row = std::int64_t{b} * a.queries, key = std::int64_t{b} * a.keys;
        AttentionTask t = scratch.task(worker);
        t.head_dim = a.head_dim;
        t.queries = last - first;
        t.keys = t.columns = t.real_columns = a.keys;
        t.scale = a.scale;
        for (int i = 0; i < t.queries; ++i) {
            t.q[i] = a.q + (row + first + i) * a.q_stride + channel;
            t.out[i] = a.out + (row + first + i) * width + channel;
            if (a.log_sum_exp) t.log_sum_exp[i] = a.log_sum_exp + (std::int64_t{b} * a.heads + head) * a.queries + first + i;
        }
        for (int j = 0; j < a.keys; ++j) {
            t.k[j] = a.k + (key + j) * a.k_stride + channel;
            t.v[j] = a.v + (key + j) * a.v_stride + channel;
        }
        if (!a.log_sum_exp) t.log_sum_exp = nullptr;
        SAMED_ISA_CALL(c.isa(), attend, t, scratch, worker);
    };
    constexpr double inline_multiply_adds = 1e6;  // ten tokens among themselves: waking threads would cost more
    if (2.0 * heads * a.head_dim * a.queries * a.keys > inline_multiply_adds) return parallel_for(c.executor(), heads * chunks, run);
    for (int i = 0; i < heads * chunks; ++i) run(i, 0);
}

inline void image_attention(CpuContext& c, ImageAttentionArgs<float> const& a) {
    if (a.batch == 0 || a.height == 0 || a.width == 0) return;
    int const workers = c.executor().workers();
    int const rows = a.window ? a.window : a.height, columns = a.window ? a.window : a.width;
    int const down = (a.height + rows - 1) / rows, across = (a.width + columns - 1) / columns;
    int const largest = std::min(rows, a.height) * std::min(columns, a.width);  // queries of the first window
    bool const padded = a.height % rows != 0 || a.width % columns != 0, relative = a.rel_pos_h != nullptr;
    int const chunks = a.window ? 1 : attention_chunks(largest, a.batch * a.heads, workers);
    int const panels = (largest + 31) / 32, most = std::min(largest, (panels + chunks - 1) / chunks * 32);

    Arena::Frame frame(c.arena());
    AttentionScratch const scratch =
        AttentionScratch::take(c.arena(), workers, most, largest + padded, a.head_dim, rows, columns, relative, a.bias_table != nullptr);
    auto const table = [&](int size) {
        return c.arena().take<float>(relative ? std::size_t(2 * size - 1) * std::size_t(a.head_dim) + 16 : 0);
    };
    float *const table_h = table(rows), *const table_w = table(columns);
    if (c.planning()) return;
    if (relative) {
        SAMED_ISA_CALL(c.isa(), pack_table, a.rel_pos_h, 2 * rows - 1, a.head_dim, table_h);
        SAMED_ISA_CALL(c.isa(), pack_table, a.rel_pos_w, 2 * columns - 1, a.head_dim, table_w);
    }
    std::int64_t const width = std::int64_t{a.heads} * a.head_dim;
    auto const run = [&](int index, int worker) {
        int const chunk = index % chunks, head = index / chunks % a.heads, tile = index / chunks / a.heads;
        int const b = tile / (down * across), top = tile / across % down * rows, left = tile % across * columns;
        std::int64_t const channel = std::int64_t{head} * a.head_dim;
        AttentionTask t = scratch.task(worker);
        t.head_dim = a.head_dim;
        t.scale = a.scale;
        t.rows = rows;
        t.columns = columns;
        t.real_rows = std::min(rows, a.height - top);
        t.real_columns = std::min(columns, a.width - left);
        int const real = t.real_rows * t.real_columns, share = (real + 31) / 32;
        t.padded = real < rows * columns;
        t.keys = real + t.padded;
        if (relative) {
            t.table_h = table_h;
            t.table_w = table_w;
        }
        if (a.bias_table) t.bias_table = a.bias_table + std::int64_t{head} * rows * columns;
        auto const token = [&](int i) {
            return (std::int64_t{b} * a.height + top + i / t.real_columns) * a.width + left + i % t.real_columns;
        };
        for (int i = 0; i < real; ++i) {
            t.k[i] = a.qkv + token(i) * 3 * width + width + channel;
            t.v[i] = t.k[i] + width;
        }
        if (t.padded) {
            t.k[real] = a.pad_key + channel;
            t.v[real] = a.pad_value + channel;
        }
        int const first = static_cast<int>(std::int64_t{chunk} * share / chunks) * 32;
        t.queries = std::min(real, static_cast<int>(std::int64_t{chunk + 1} * share / chunks) * 32) - first;
        for (int i = 0; i < t.queries; ++i) {
            std::int64_t const at = token(first + i);
            t.q[i] = a.qkv + at * 3 * width + channel;
            t.out[i] = a.out + at * width + channel;
            t.y[i] = (first + i) / t.real_columns;
            t.x[i] = (first + i) % t.real_columns;
            if (a.log_sum_exp) {
                std::int64_t const grid = std::int64_t{a.height} * a.width;
                t.log_sum_exp[i] = a.log_sum_exp + (std::int64_t{b} * a.heads + head) * grid + at - b * grid;
            }
        }
        if (!a.log_sum_exp) t.log_sum_exp = nullptr;
        SAMED_ISA_CALL(c.isa(), attend, t, scratch, worker);
    };
    parallel_for(c.executor(), a.batch * down * across * a.heads * chunks, run);
}

}  // namespace samed::kernels
