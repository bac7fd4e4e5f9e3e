// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/backend/detail/cpu_context.hpp>
#include <samed/kernels/depthwise_conv2d/depthwise_conv2d.hpp>

#define SAMED_SIMD_FILE <samed/kernels/depthwise_conv2d/depthwise_conv2d_simd.inc>
#include <samed/core/simd/for_each_isa.hpp>

namespace samed::kernels {

inline void depthwise_conv2d(CpuContext& c, DepthwiseConv2dArgs<float> const& a) {
    if (c.planning() || a.batch == 0) return;
    int const height = a.out_height();
    parallel_for(c.executor(), a.batch * height, [&](int index, int) {
        int const b = index / height, y = index % height;
        SAMED_ISA_CALL(c.isa(), depthwise_row, a, a.x + std::int64_t{b} * a.height * a.width * a.channels, y,
                       a.out + std::int64_t{index} * a.out_width() * a.channels);
    });
}

}  // namespace samed::kernels
