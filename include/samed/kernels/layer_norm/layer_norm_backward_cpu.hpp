// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include <samed/kernels/layer_norm/layer_norm_backward.hpp>
#include <samed/kernels/layer_norm/layer_norm_cpu.hpp>

#define SAMED_SIMD_FILE <samed/kernels/layer_norm/layer_norm_backward_simd.inc>
#include <samed/core/simd/for_each_isa.hpp>

namespace samed::kernels {

inline void layer_norm_backward(CpuContext& c, LayerNormBackwardArgs<float> const& l) {
    LayerNormArgs<float> const& f = l.forward;
    if (c.planning() || f.rows == 0) return;
    std::int64_t const piece = std::max<std::int64_t>(1, 32768 / std::max(1, f.width));
    if (l.grad_x)
        parallel_for(c.executor(), static_cast<int>((f.rows + piece - 1) / piece), [&](int index, int) {
            SAMED_ISA_CALL(c.isa(), layer_norm_grad_x, l, index * piece, std::min(f.rows, (index + 1) * piece));
        });
    if (l.grad_weight || l.grad_bias)
        parallel_for(c.executor(), (f.width + 15) / 16, [&](int index, int) {
            SAMED_ISA_CALL(c.isa(), layer_norm_grad_affine, l, 16 * index, std::min(16, f.width - 16 * index));
        });
}

}  // namespace samed::kernels
