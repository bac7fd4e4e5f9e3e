// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include <samed/backend/detail/cpu_context.hpp>
#include <samed/kernels/resize/resize.hpp>

namespace samed::kernels {

/// bilinear_tap of every output column; padded to a multiple of sixteen with taps of column 0.
struct ColumnTaps {
    int* low = nullptr;
    int* high = nullptr;
    float* weight_high = nullptr;

    static ColumnTaps take(Arena& arena, int out_width) {
        std::size_t const count = std::size_t(out_width + 15) / 16 * 16;
        return {arena.take<int>(count), arena.take<int>(count), arena.take<float>(count)};
    }
    void fill(int in_width, int out_width) const {
        for (int x = 0; x < (out_width + 15) / 16 * 16; ++x) {
            BilinearTap const tap = x < out_width ? bilinear_tap(x, in_width, out_width) : BilinearTap{0, 0, 0.0f};
            low[x] = tap.low;
            high[x] = tap.high;
            weight_high[x] = tap.weight_high;
        }
    }
};

}  // namespace samed::kernels

#define SAMED_SIMD_FILE <samed/kernels/resize/resize_simd.inc>
#include <samed/core/simd/for_each_isa.hpp>

namespace samed::kernels {

inline void bilinear(CpuContext& c, BilinearArgs<float> const& r) {
    constexpr int rows = 16;  // of the output, a task
    int const pieces = (r.out_height + rows - 1) / rows;
    std::int64_t const width = (r.in_width + 15) / 16 * 16;
    Arena::Frame frame(c.arena());
    ColumnTaps const taps = ColumnTaps::take(c.arena(), r.out_width);
    float* scratch = c.arena().take<float>(std::size_t(width) * std::size_t(c.executor().workers()));
    if (c.planning()) return;
    taps.fill(r.in_width, r.out_width);
    parallel_for(c.executor(), r.planes * pieces, [&](int index, int worker) {
        int const first = index % pieces * rows, last = std::min(r.out_height, first + rows);
        for (int y = first; y < last; ++y) SAMED_ISA_CALL(c.isa(), bilinear_row, r, taps, index / pieces, y, scratch + worker * width);
    });
}

}  // namespace samed::kernels
