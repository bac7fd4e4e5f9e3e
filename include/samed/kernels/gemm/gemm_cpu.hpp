// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include <samed/backend/detail/cpu_context.hpp>
#include <samed/kernels/gemm/gemm.hpp>
#include <samed/kernels/gemm/gemm_problem.hpp>

#define SAMED_SIMD_FILE <samed/kernels/gemm/micro_kernel_simd.inc>
#include <samed/core/simd/for_each_isa.hpp>
#define SAMED_SIMD_FILE <samed/kernels/gemm/gemm_simd.inc>
#include <samed/core/simd/for_each_isa.hpp>
#define SAMED_SIMD_FILE <samed/kernels/gemm/gemm_words_simd.inc>
#include <samed/core/simd/for_each_isa.hpp>

namespace samed::kernels {

/// Blocks of rows whose packed copy stays in the L2 cache while panel after panel of the weight streams past, each panel used for
/// every tile of the block. The last blocks are cut into chunks of panels, so that threads finish together.
inline void run_gemm(CpuContext& c, GemmProblem g) {
    constexpr double inline_multiply_adds = 8e6;  // a tenth of a millisecond: waking threads would cost what it gains
    int const terms = PackedMatrix::word_terms(g.weight.precision), columns = terms ? (g.k + terms - 1) / terms : g.k;
    g.words = c.word_kernels().of(g.weight.precision);
    int const tile = SAMED_ISA_CALL(c.isa(), largest_tile);
    int const tiles = (g.m + tile - 1) / tile;
    int const block_tiles = SAMED_ISA_CALL(c.isa(), block_tiles, columns);
    int const blocks = (tiles + block_tiles - 1) / block_tiles;
    bool const alone = double(g.m) * g.n * g.k < inline_multiply_adds;
    int const workers = alone ? 1 : c.executor().workers();

    GemmScratch s;
    s.block_rows = std::min(block_tiles * tile, tiles * tile);
    auto const take = [&s](std::int64_t floats) {
        std::int64_t const at = s.size;
        s.size += (floats + 15) / 16 * 16;
        return at;
    };
    take(std::int64_t{s.block_rows} * columns + 16);
    s.xa = take(g.rank ? std::int64_t{s.block_rows} * g.rank + 16 : 0);
    s.panel = take(terms ? 0 : SAMED_ISA_CALL(c.isa(), panel_floats, g.weight));
    s.tail_panel = take(g.rank ? SAMED_ISA_CALL(c.isa(), panel_floats, g.tail) : 0);
    s.lines = take(g.rows->gathers ? std::int64_t{tile} * g.k : 0);
    s.sums = take(std::int64_t{s.block_rows} * PackedMatrix::panel_width + 16);  // write_columns reads whole vectors
    s.words = take(terms ? std::int64_t{s.block_rows} * padded_words(g.k, terms) : 0);
    s.levels = take(terms ? std::int64_t{s.block_rows} * std::int64_t{sizeof(RowLevels) / sizeof(float)} : 0);

    Arena::Frame frame(c.arena());
    float* scratch = c.arena().take<float>(std::size_t(s.size) * std::size_t(workers));
    if (c.planning()) return;

    auto const run_block = [&](int block, int first_panel, int last_panel, int worker) {
        int const first = static_cast<int>(std::int64_t{block} * tiles / blocks) * tile;
        int const last = std::min(g.m, static_cast<int>(std::int64_t{block + 1} * tiles / blocks) * tile);
        if (terms)
            SAMED_ISA_CALL(c.isa(), gemm_words_block, g, s, scratch + worker * s.size, first, last - first, first_panel, last_panel);
        else
            SAMED_ISA_CALL(c.isa(), gemm_block, g, s, scratch + worker * s.size, first, last - first, first_panel, last_panel);
    };
    int const panels = g.weight.panels();
    if (workers == 1) {
        for (int block = 0; block < blocks; ++block) run_block(block, 0, panels, 0);
        return;
    }
    int const whole = blocks >= 2 * workers ? blocks - workers : 0, cut = blocks - whole;
    int const chunks = std::clamp((4 * workers + cut - 1) / cut, 1, panels);
    parallel_for(c.executor(), whole + cut * chunks, [&](int index, int worker) {
        if (index < whole) return run_block(index, 0, panels, worker);
        int const block = whole + (index - whole) / chunks, chunk = (index - whole) % chunks;
        run_block(block, static_cast<int>(std::int64_t{chunk} * panels / chunks),
                  static_cast<int>(std::int64_t{chunk + 1} * panels / chunks), worker);
    });
}

inline void gemm(CpuContext& c, GemmArgs<float, PackedMatrix> const& a) {
    if (a.m == 0 || a.n == 0) return;
    StridedRows const rows(a.a, a.a_stride, a.k);
    GemmProblem g;
    g.m = a.m;
    g.n = a.n;
    g.k = a.k;
    g.rows = &rows;
    g.weight = a.weight;
    g.xa = a.tail.xa;
    g.xa_stride = a.tail.xa_stride;
    g.tail = a.tail.b;
    g.rank = a.tail.rank;
    g.bias = a.bias;
    g.activation = a.activation;
    g.residual = a.residual;
    g.residual_stride = a.residual_stride;
    g.residual_rows = a.residual_rows;
    g.out = a.out;
    g.out_stride = a.out_stride;
    run_gemm(c, g);
}

}  // namespace samed::kernels
