// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include <samed/kernels/elementwise/elementwise_backward.hpp>
#include <samed/kernels/elementwise/elementwise_cpu.hpp>

#define SAMED_SIMD_FILE <samed/kernels/elementwise/elementwise_backward_simd.inc>
#include <samed/core/simd/for_each_isa.hpp>

namespace samed::kernels {

/// Pieces of columns; of rows too, where no sum runs over them.
inline void add_backward(CpuContext& c, AddBackwardArgs<float> const& e) {
    AddArgs<float> const& f = e.forward;
    if (c.planning() || f.count == 0 || (!e.grad_a && !e.grad_b)) return;
    constexpr std::int64_t piece = 1 << 14;
    std::int64_t const rows = f.count / f.period;
    std::int64_t const columns = e.grad_b && rows > 1 ? std::min<std::int64_t>(f.period, 64) : std::min(f.period, piece);
    std::int64_t const deep = e.grad_b ? rows : std::clamp<std::int64_t>(piece / columns, 1, rows);
    std::int64_t const across = (f.period + columns - 1) / columns, down = (rows + deep - 1) / deep;
    parallel_for(c.executor(), static_cast<int>(across * down), [&](int index, int) {
        std::int64_t const column = index % across * columns, row = index / across * deep;
        SAMED_ISA_CALL(c.isa(), add_backward, e, row, std::min(rows, row + deep), column, std::min(f.period, column + columns));
    });
}

}  // namespace samed::kernels
