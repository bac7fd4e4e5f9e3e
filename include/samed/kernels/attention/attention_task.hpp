// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include <samed/core/arena.hpp>
#include <samed/kernels/gemm/gemm_problem.hpp>

namespace samed::kernels {

/// One head over one set of keys, for some of its queries: a window, some rows of the grid, or the decoder's tokens.
///
/// Rows are given by address, so that windows are neither copied nor padded. The keys form a `rows` x `columns` grid of which the
/// first `real_rows` x `real_columns` exist, in row-major order; when `padded`, one more key stands for all others, which share one
/// key and one value: a single row of scores and a single row of probabilities serve them all.
struct AttentionTask {
    int head_dim = 0, queries = 0, keys = 0;
    float const** q = nullptr;      ///< [queries]
    float const** k = nullptr;      ///< [keys], the padded one last
    float const** v = nullptr;      ///< [keys]
    float** out = nullptr;          ///< [queries]
    float** log_sum_exp = nullptr;  ///< [queries] or null
    float scale = 1;

    int rows = 1, columns = 0, real_rows = 1, real_columns = 0;
    bool padded = false;
    /// rel_pos_h and rel_pos_w as tiles, see pack_tiles; null = no relative position
    float const* table_h = nullptr;
    float const* table_w = nullptr;
    float const* bias_table = nullptr;  ///< [rows * columns] of this head, see ImageAttentionArgs; null = none
    int* y = nullptr;                   ///< [queries], in the grid of keys
    int* x = nullptr;
};

/// Scratch of all workers. Nothing of size queries x keys: the scores of one panel of queries, at most 32, exist at a time.
struct AttentionScratch {
    int queries = 0, keys = 0;
    float const** address = nullptr;  ///< [workers][addresses()]
    int* position = nullptr;          ///< [workers][2 queries]
    float* slab = nullptr;            ///< [workers][size]
    std::int64_t v = 0, q = 0, product_h = 0, product_w = 0, bias_h = 0, bias_w = 0, scores = 0, out = 0, size = 0;

    /// @param queries, keys  the most that a task has
    static AttentionScratch take(Arena& arena, int workers, int queries, int keys, int head_dim, int rows, int columns, bool relative,
                                 bool table = false) {
        AttentionScratch s;
        s.queries = queries;
        s.keys = keys;
        auto const reserve = [&s](std::int64_t floats) {
            std::int64_t const at = s.size;
            s.size += (floats + 15) / 16 * 16;
            return at;
        };
        reserve(std::int64_t{keys} * head_dim + 16);
        s.v = reserve(std::int64_t{keys} * head_dim + 16);
        s.q = reserve(32 * head_dim);
        s.product_h = reserve(relative ? 32 * (2 * rows - 1) : 0);
        s.product_w = reserve(relative ? 32 * (2 * columns - 1) : 0);
        s.bias_h = reserve(relative ? 32 * rows : 0);
        s.bias_w = reserve(relative ? 32 * columns : table ? 32 * rows * columns : 0);
        s.scores = reserve(std::int64_t{32} * keys);
        s.out = reserve(32 * head_dim);
        s.address = arena.take<float const*>(s.addresses() * std::size_t(workers));
        s.position = arena.take<int>(std::size_t(2 * queries) * std::size_t(workers));
        s.slab = arena.take<float>(std::size_t(s.size) * std::size_t(workers));
        return s;
    }
    std::size_t addresses() const { return std::size_t(3) * std::size_t(queries) + std::size_t(2) * std::size_t(keys); }

    /// A task whose arrays lie in the worker's part.
    AttentionTask task(int worker) const {
        AttentionTask t;
        t.q = address + addresses() * std::size_t(worker);
        t.k = t.q + queries;
        t.v = t.k + keys;
        auto** writable = const_cast<float**>(t.v + keys);
        t.out = writable;
        t.log_sum_exp = writable + queries;
        t.y = position + std::size_t(2 * queries) * std::size_t(worker);
        t.x = t.y + queries;
        return t;
    }
};

/// Rows by address.
class AddressedRows final : public RowSource {
public:
    AddressedRows(float const* const* rows, int k) : RowSource(1, k, false), rows_(rows) {}
    float const* locate(int row, int, float*) const override { return rows_[row]; }

private:
    float const* const* rows_;
};

}  // namespace samed::kernels
