// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include <samed/kernels/attention/attention_backward.hpp>
#include <samed/kernels/attention/attention_backward_task.hpp>
#include <samed/kernels/attention/attention_cpu.hpp>
#include <samed/kernels/gemm/gemm_backward_cpu.hpp>

#define SAMED_SIMD_FILE <samed/kernels/attention/attention_backward_simd.inc>
#include <samed/core/simd/for_each_isa.hpp>

namespace samed::kernels {

inline void attention_backward(CpuContext& c, AttentionBackwardArgs<float> const& g) {
    AttentionArgs<float> const& a = g.forward;
    if (a.queries == 0 || a.keys == 0 || a.batch == 0) return;
    Arena::Frame frame(c.arena());
    auto const scratch = AttentionBackwardScratch::take(c.arena(), c.executor().workers(), a.queries, a.keys, a.head_dim, 0, 0, false);
    if (c.planning()) return;
    std::int64_t const width = std::int64_t{a.heads} * a.head_dim;
    parallel_for(c.executor(), a.batch * a.heads, [&](int index, int worker) {
        int const head = index % a.heads, b = index / a.heads;
        std::int64_t const channel = std::int64_t{head} * a.head_dim, row = std::int64_t{b} * a.queries, key = std::int64_t{b} * a.keys;
        AttentionBackwardTask task = scratch.task(worker);
        AttentionTask& t = task.forward;
        t.head_dim = a.head_dim;
        t.queries = a.queries;
        t.keys = t.columns = t.real_columns = task.grad_keys = a.keys;
        t.scale = a.scale;
        for (int i = 0; i < a.queries; ++i) {
            t.q[i] = a.q + (row + i) * a.q_stride + channel;
            t.out[i] = a.out + (row + i) * width + channel;
            t.log_sum_exp[i] = a.log_sum_exp + (std::int64_t{b} * a.heads + head) * a.queries + i;
            task.grad_out[i] = g.grad_out + (row + i) * width + channel;
            task.grad_q[i] = g.grad_q + (row + i) * a.q_stride + channel;
        }
        for (int j = 0; j < a.keys; ++j) {
            t.k[j] = a.k + (key + j) * a.k_stride + channel;
            t.v[j] = a.v + (key + j) * a.v_stride + channel;
            task.grad_k[j] = g.grad_k + (key + j) * a.k_stride + channel;
            task.grad_v[j] = g.grad_v + (key + j) * a.v_stride + channel;
        }
        SAMED_ISA_CALL(c.isa(), attend_backward, task, scratch, worker);
    });
}

/// What every task of image attention adds to gradients that tasks share: a piece each, summed in the order of tasks.
struct AttentionBackwardPieces {
    float *table_h = nullptr, *table_w = nullptr;    ///< [tasks][2 rows - 1, head_dim]
    float *pad_key = nullptr, *pad_value = nullptr;  ///< [tasks][head_dim]
};

inline void image_attention_backward(CpuContext& c, ImageAttentionBackwardArgs<float> const& g) {
    ImageAttentionArgs<float> const& a = g.forward;
    SAMED_ASSERT(!a.bias_table);
    if (a.batch == 0 || a.height == 0 || a.width == 0) return;
    int const rows = a.window ? a.window : a.height, columns = a.window ? a.window : a.width;
    int const down = (a.height + rows - 1) / rows, across = (a.width + columns - 1) / columns;
    int const largest = std::min(rows, a.height) * std::min(columns, a.width);  // queries of the first window
    bool const padded = a.height % rows != 0 || a.width % columns != 0, relative = a.rel_pos_h != nullptr;
    bool const tables = g.grad_rel_pos_h != nullptr, pads = padded && g.grad_pad_key;
    int const tasks = a.batch * down * across * a.heads, size_h = (2 * rows - 1) * a.head_dim, size_w = (2 * columns - 1) * a.head_dim;
    SAMED_ASSERT(!tables || (relative && g.grad_rel_pos_w));
    SAMED_ASSERT(!pads || g.grad_pad_value);

    Arena::Frame frame(c.arena());
    auto const scratch = AttentionBackwardScratch::take(c.arena(), c.executor().workers(), largest, largest + padded, a.head_dim, rows,
                                                        columns, relative, tables);
    auto const pieces = [&](bool wanted, int size) {
        return wanted ? c.arena().take<float>(std::size_t(tasks) * std::size_t(size)) : nullptr;
    };
    AttentionBackwardPieces const shared{pieces(tables, size_h), pieces(tables, size_w), pieces(pads, a.head_dim),
                                         pieces(pads, a.head_dim)};
    auto const table = [&](int size) {
        return c.arena().take<float>(relative ? std::size_t(2 * size - 1) * std::size_t(a.head_dim) + 16 : 0);
    };
    float *const table_h = table(rows), *const table_w = table(columns), *const columns_h = table(rows), *const columns_w = table(columns);
    auto** const table_rows = c.arena().take<float const*>(relative ? std::size_t(2 * std::max(rows, columns)) : 0);
    if (c.planning()) return;
    for (float* sums : {shared.pad_key, shared.pad_value})
        if (sums) std::fill_n(sums, std::size_t(tasks) * std::size_t(a.head_dim), 0.0f);
    if (relative) {
        SAMED_ISA_CALL(c.isa(), pack_table, a.rel_pos_h, 2 * rows - 1, a.head_dim, table_h);
        SAMED_ISA_CALL(c.isa(), pack_table, a.rel_pos_w, 2 * columns - 1, a.head_dim, table_w);
        SAMED_ISA_CALL(c.isa(), pack_table_columns, a.rel_pos_h, 2 * rows - 1, a.head_dim, table_rows, columns_h);
        SAMED_ISA_CALL(c.isa(), pack_table_columns, a.rel_pos_w, 2 * columns - 1, a.head_dim, table_rows, columns_w);
    }
    std::int64_t const width = std::int64_t{a.heads} * a.head_dim;
    parallel_for(c.executor(), tasks, [&](int index, int worker) {
        int const head = index % a.heads, tile = index / a.heads;
        int const b = tile / (down * across), top = tile / across % down * rows, left = tile % across * columns;
        std::int64_t const channel = std::int64_t{head} * a.head_dim, grid = std::int64_t{a.height} * a.width;
        AttentionBackwardTask task = scratch.task(worker);
        AttentionTask& t = task.forward;
        t.head_dim = a.head_dim;
        t.scale = a.scale;
        t.rows = rows;
        t.columns = columns;
        t.real_rows = std::min(rows, a.height - top);
        t.real_columns = std::min(columns, a.width - left);
        t.queries = t.real_rows * t.real_columns;
        t.padded = t.queries < rows * columns;
        t.keys = t.queries + t.padded;
        if (relative) {
            t.table_h = table_h;
            t.table_w = table_w;
            task.columns_h = columns_h;
            task.columns_w = columns_w;
        }
        if (tables) {
            task.grad_table_h = shared.table_h + std::int64_t{index} * size_h;
            task.grad_table_w = shared.table_w + std::int64_t{index} * size_w;
        }
        for (int i = 0; i < t.queries; ++i) {
            t.y[i] = i / t.real_columns;
            t.x[i] = i % t.real_columns;
            std::int64_t const at = (std::int64_t{b} * a.height + top + t.y[i]) * a.width + left + t.x[i];
            t.q[i] = a.qkv + at * 3 * width + channel;
            t.k[i] = t.q[i] + width;
            t.v[i] = t.k[i] + width;
            t.out[i] = a.out + at * width + channel;
            t.log_sum_exp[i] = a.log_sum_exp + (std::int64_t{b} * a.heads + head) * grid + at - b * grid;
            task.grad_out[i] = g.grad_out + at * width + channel;
            task.grad_q[i] = g.grad_qkv + at * 3 * width + channel;
            task.grad_k[i] = task.grad_q[i] + width;
            task.grad_v[i] = task.grad_k[i] + width;
        }
        if (t.padded) {
            t.k[t.queries] = a.pad_key + channel;
            t.v[t.queries] = a.pad_value + channel;
            if (pads) {
                task.grad_k[t.queries] = shared.pad_key + std::int64_t{index} * a.head_dim;
                task.grad_v[t.queries] = shared.pad_value + std::int64_t{index} * a.head_dim;
            }
        }
        task.grad_keys = pads ? t.keys : t.queries;
        SAMED_ISA_CALL(c.isa(), attend_backward, task, scratch, worker);
    });
    if (tables) {
        add_column_sums(c, tasks, size_h, shared.table_h, size_h, g.grad_rel_pos_h);
        add_column_sums(c, tasks, size_w, shared.table_w, size_w, g.grad_rel_pos_w);
    }
    if (pads) {
        add_column_sums(c, tasks / a.heads, int(width), shared.pad_key, width, g.grad_pad_key);
        add_column_sums(c, tasks / a.heads, int(width), shared.pad_value, width, g.grad_pad_value);
    }
}

}  // namespace samed::kernels
