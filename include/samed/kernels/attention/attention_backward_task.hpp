// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/kernels/attention/attention_task.hpp>

namespace samed::kernels {

/// One head over one set of keys with all of its queries, so that no two tasks add to the same gradient.
struct AttentionBackwardTask {
    AttentionTask forward;             ///< `out` and `log_sum_exp` are read
    float const** grad_out = nullptr;  ///< [queries]
    float** grad_q = nullptr;          ///< [queries]
    float** grad_k = nullptr;          ///< [grad_keys]
    float** grad_v = nullptr;
    int grad_keys = 0;              ///< all keys, or those but the padded one
    float* grad_table_h = nullptr;  ///< [2 rows - 1, head_dim] of this task alone, written; null = frozen
    float* grad_table_w = nullptr;
    float const* columns_h = nullptr;  ///< rel_pos_h and rel_pos_w as left operands over head_dim, see pack_values
    float const* columns_w = nullptr;
};

/// Scratch of all workers. Scores, probabilities and their gradients exist for one panel of at most 32 queries at a time.
struct AttentionBackwardScratch {
    int queries = 0, keys = 0;
    float** address = nullptr;  ///< [workers][addresses()]
    int* position = nullptr;    ///< [workers][2 queries]
    float* slab = nullptr;      ///< [workers][size]
    std::int64_t k = 0, v = 0, k_columns = 0, q = 0, grad = 0, q_rows = 0, grad_rows = 0, scores = 0, grad_scores = 0, tiles = 0;
    std::int64_t sum_k = 0, sum_v = 0, sum_h = 0, sum_w = 0, out = 0, product_h = 0, product_w = 0, bias_h = 0, bias_w = 0, grad_h = 0,
                 grad_w = 0, size = 0;

    /// @param queries, keys  the most that a task has
    /// @param tables         whether rel_pos_h and rel_pos_w learn
    static AttentionBackwardScratch take(Arena& arena, int workers, int queries, int keys, int head_dim, int rows, int columns,
                                         bool relative, bool tables = false) {
        AttentionBackwardScratch s;
        s.queries = queries;
        s.keys = keys;
        auto const reserve = [&s](std::int64_t floats) {
            std::int64_t const at = s.size;
            s.size += (floats + 31) / 16 * 16;  // packing spills up to 16 floats
            return at;
        };
        std::int64_t const deep = std::int64_t{keys} * head_dim, padded = (head_dim + 31) / 32 * 32;
        s.k = reserve(deep);
        s.v = reserve(deep);
        s.k_columns = reserve(deep);
        s.q = reserve(32 * head_dim);
        s.grad = reserve(32 * head_dim);
        s.q_rows = reserve(32 * padded);
        s.grad_rows = reserve(32 * padded);
        s.scores = reserve(std::int64_t{32} * keys);
        s.grad_scores = reserve(std::int64_t{32} * keys);
        s.tiles = reserve(std::int64_t{32} * std::max(keys, tables ? 2 * std::max(rows, columns) - 1 : 0));
        s.sum_k = reserve(keys * padded);
        s.sum_v = reserve(keys * padded);
        s.sum_h = reserve(tables ? (2 * rows - 1) * padded : 0);
        s.sum_w = reserve(tables ? (2 * columns - 1) * padded : 0);
        s.out = reserve(32 * head_dim);
        s.product_h = reserve(relative ? 32 * (2 * rows - 1) : 0);
        s.product_w = reserve(relative ? 32 * (2 * columns - 1) : 0);
        s.bias_h = reserve(relative ? 32 * rows : 0);
        s.bias_w = reserve(relative ? 32 * columns : 0);
        s.grad_h = reserve(32 * rows);
        s.grad_w = reserve(32 * columns);
        s.address = arena.take<float*>(s.addresses() * std::size_t(workers));
        s.position = arena.take<int>(std::size_t(2 * queries) * std::size_t(workers));
        s.slab = arena.take<float>(std::size_t(s.size) * std::size_t(workers));
        return s;
    }
    std::size_t addresses() const { return std::size_t(5) * std::size_t(queries) + std::size_t(4) * std::size_t(keys); }

    /// A task whose arrays lie in the worker's part.
    AttentionBackwardTask task(int worker) const {
        AttentionBackwardTask t;
        float** at = address + addresses() * std::size_t(worker);
        auto const next = [&at](int count) {
            float** const here = at;
            at += count;
            return here;
        };
        t.forward.q = const_cast<float const**>(next(queries));
        t.forward.k = const_cast<float const**>(next(keys));
        t.forward.v = const_cast<float const**>(next(keys));
        t.forward.out = next(queries);
        t.forward.log_sum_exp = next(queries);
        t.grad_out = const_cast<float const**>(next(queries));
        t.grad_q = next(queries);
        t.grad_k = next(keys);
        t.grad_v = next(keys);
        t.forward.y = position + std::size_t(2 * queries) * std::size_t(worker);
        t.forward.x = t.forward.y + queries;
        return t;
    }
};

}  // namespace samed::kernels
