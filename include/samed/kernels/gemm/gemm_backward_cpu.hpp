// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include <samed/kernels/gemm/gemm_backward.hpp>
#include <samed/kernels/gemm/gemm_cpu.hpp>
#include <samed/kernels/gemm/pack.hpp>

#define SAMED_SIMD_FILE <samed/kernels/gemm/gemm_backward_simd.inc>
#include <samed/core/simd/for_each_isa.hpp>

namespace samed::kernels {

inline void pack(CpuContext& c, PackArgs<float> const& p) {
    if (c.planning()) return;
    constexpr int width = PackedMatrix::panel_width;
    int const panels = (p.n + width - 1) / width;
    if (!p.transposed)
        return parallel_for(c.executor(), panels, [&](int panel, int) {
            pack_rows(c.isa(), p.at, p.k, Precision::f32, panel * width, std::min(width, p.n - panel * width),
                      p.source + std::int64_t{panel} * width * p.k);
        });
    float* const out = reinterpret_cast<float*>(p.at);
    constexpr int piece = 512;  // rows of a strip
    int const pieces = (p.k + piece - 1) / piece;
    parallel_for(c.executor(), panels * pieces, [&](int index, int) {
        int const panel = index / pieces, first = index % pieces * piece;
        SAMED_ISA_CALL(c.isa(), pack_strip, p.source + first * p.source_stride + panel * width, p.source_stride,
                       std::min(piece, p.k - first), std::min(width, p.n - panel * width),
                       out + (std::int64_t{panel} * p.k + first) * width);
    });
}

/// A right operand for one product, in the arena.
inline PackedMatrix pack_scratch(CpuContext& c, PackArgs<float> p) {
    p.at = c.arena().take<std::byte>(PackedMatrix::size_bytes(p.n, p.k, Precision::f32));
    pack(c, p);
    return {p.at, p.n, p.k, Precision::f32};
}

/// [m, n] as [n, stride] with the stride a multiple of 16, in the arena.
struct Transposed {
    float* data;
    int stride;
};
inline Transposed transpose_scratch(CpuContext& c, int m, int n, float const* source, std::int64_t source_stride) {
    int const stride = (m + 15) / 16 * 16;
    float* const out = c.arena().take<float>(std::size_t(stride) * std::size_t(n));
    if (!c.planning())
        parallel_for(c.executor(), stride / 16, [&](int block, int) {
            SAMED_ISA_CALL(c.isa(), transpose_block, source + std::int64_t{16} * block * source_stride, source_stride,
                           std::min(16, m - 16 * block), n, out + 16 * block, stride);
        });
    return {out, stride};
}

/// out[n] += the sum of the rows of [m, n].
inline void add_column_sums(CpuContext& c, int m, int n, float const* source, std::int64_t stride, float* out) {
    if (c.planning()) return;
    parallel_for(c.executor(), (n + 15) / 16, [&](int block, int) {
        SAMED_ISA_CALL(c.isa(), column_sums, source + 16 * block, stride, m, std::min(16, n - 16 * block), out + 16 * block);
    });
}

/// The forward GEMM over transposed operands: grad_out^T [n, m] by a^T, packed straight from `a`.
inline void gemm_backward(CpuContext& c, GemmBackwardArgs<float> const& g) {
    if (g.m == 0 || g.n == 0) return;
    if (g.grad_weight) {
        Arena::Frame frame(c.arena());
        Transposed const left = transpose_scratch(c, g.m, g.n, g.grad_out, g.grad_out_stride);
        GemmArgs<float, PackedMatrix> product;
        product.m = g.n;
        product.n = g.k;
        product.k = g.m;
        product.a = left.data;
        product.a_stride = left.stride;
        product.weight = pack_scratch(c, {g.k, g.m, g.a, true, g.a_stride, nullptr});
        product.residual = product.out = g.grad_weight;
        product.residual_stride = product.out_stride = g.k;
        gemm(c, product);
    }
    if (g.grad_bias) add_column_sums(c, g.m, g.n, g.grad_out, g.grad_out_stride, g.grad_bias);
}

}  // namespace samed::kernels
