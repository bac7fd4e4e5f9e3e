// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include <samed/kernels/argmax/argmax.hpp>
#include <samed/kernels/resize/resize_cpu.hpp>

#define SAMED_SIMD_FILE <samed/kernels/argmax/argmax_simd.inc>
#include <samed/core/simd/for_each_isa.hpp>

namespace samed::kernels {

inline void argmax(CpuContext& c, ArgmaxArgs<float> const& a) {
    constexpr int rows = 8;  // of the output, a task
    int const pieces = (a.out_height + rows - 1) / rows;
    std::int64_t const width = (a.in_width + 15) / 16 * 16, size = width * a.classes;
    Arena::Frame frame(c.arena());
    ColumnTaps const taps = ColumnTaps::take(c.arena(), a.out_width);
    float* scratch = c.arena().take<float>(std::size_t(size) * std::size_t(c.executor().workers()));
    if (c.planning()) return;
    taps.fill(a.in_width, a.out_width);
    parallel_for(c.executor(), a.batch * pieces, [&](int index, int worker) {
        int const first = index % pieces * rows, last = std::min(a.out_height, first + rows);
        for (int y = first; y < last; ++y) SAMED_ISA_CALL(c.isa(), argmax_row, a, taps, index / pieces, y, scratch + worker * size, width);
    });
}

}  // namespace samed::kernels
