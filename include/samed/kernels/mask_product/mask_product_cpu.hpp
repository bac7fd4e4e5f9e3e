// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include <samed/kernels/gemm/gemm_cpu.hpp>
#include <samed/kernels/mask_product/mask_product.hpp>

#define SAMED_SIMD_FILE <samed/kernels/mask_product/mask_product_simd.inc>
#include <samed/core/simd/for_each_isa.hpp>

namespace samed::kernels {

inline void mask_product(CpuContext& c, MaskProductArgs<float> const& a) {
    constexpr int piece = 2048;  // pixels
    int const pieces = (a.pixels + piece - 1) / piece;
    std::int64_t const size = (std::int64_t{a.masks} * a.channels + 31) / 16 * 16 + std::int64_t{32} * a.channels;
    Arena::Frame frame(c.arena());
    float* scratch = c.arena().take<float>(std::size_t(size) * std::size_t(c.executor().workers()));
    if (c.planning()) return;
    parallel_for(c.executor(), a.batch * pieces, [&](int index, int worker) {
        int const first = index % pieces * piece;
        SAMED_ISA_CALL(c.isa(), mask_product, a, index / pieces, first, std::min(a.pixels, first + piece), scratch + worker * size);
    });
}

}  // namespace samed::kernels
