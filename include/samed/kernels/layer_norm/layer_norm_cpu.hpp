// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include <samed/backend/detail/cpu_context.hpp>
#include <samed/kernels/layer_norm/layer_norm.hpp>

#define SAMED_SIMD_FILE <samed/kernels/layer_norm/layer_norm_simd.inc>
#include <samed/core/simd/for_each_isa.hpp>

namespace samed::kernels {

inline void layer_norm(CpuContext& c, LayerNormArgs<float> const& l) {
    if (c.planning() || l.rows == 0) return;
    std::int64_t const piece = std::max<std::int64_t>(1, 65536 / std::max(1, l.width));
    parallel_for(c.executor(), static_cast<int>((l.rows + piece - 1) / piece),
                 [&](int index, int) { SAMED_ISA_CALL(c.isa(), layer_norm, l, index * piece, std::min(l.rows, (index + 1) * piece)); });
}

}  // namespace samed::kernels
