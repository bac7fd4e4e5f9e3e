// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include <samed/backend/detail/cpu_context.hpp>
#include <samed/kernels/elementwise/elementwise.hpp>

#define SAMED_SIMD_FILE <samed/kernels/elementwise/elementwise_simd.inc>
#include <samed/core/simd/for_each_isa.hpp>

namespace samed::kernels {

inline void add(CpuContext& c, AddArgs<float> const& e) {
    if (c.planning() || e.count == 0) return;
    constexpr std::int64_t piece = 1 << 17;
    int const tasks = static_cast<int>((e.count + piece - 1) / piece);
    parallel_for(c.executor(), tasks, [&](int index, int) {
        std::int64_t const last = std::min(e.count, (index + 1) * piece);
        for (std::int64_t i = index * piece; i < last;) {
            std::int64_t const at = i % e.period, count = std::min(last - i, e.period - at);
            SAMED_ISA_CALL(c.isa(), add, count, e.a + i, e.b + at, e.activation, e.out + i);
            i += count;
        }
    });
}

}  // namespace samed::kernels
