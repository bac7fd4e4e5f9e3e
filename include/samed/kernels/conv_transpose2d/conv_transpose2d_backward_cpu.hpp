// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include <samed/kernels/conv_transpose2d/conv_transpose2d_backward.hpp>
#include <samed/kernels/conv_transpose2d/conv_transpose2d_cpu.hpp>
#include <samed/kernels/gemm/gemm_backward_cpu.hpp>

namespace samed::kernels {

/// The four pixels of every block side by side are the rows of two GEMMs.
inline void conv_transpose2d_backward(CpuContext& c, ConvTranspose2dBackwardArgs<float, PackedMatrix> const& g) {
    ConvTranspose2dArgs<float, PackedMatrix> const& a = g.forward;
    int const pixels = a.batch * a.height * a.width, n = 4 * a.out_channels;
    if (pixels == 0) return;
    Arena::Frame frame(c.arena());
    float* const blocks = c.arena().take<float>(std::size_t(pixels) * std::size_t(n));  // [B, H, W, 2 * 2 * out]
    if (!c.planning())
        parallel_for(c.executor(), a.batch * a.height, [&](int row, int) {
            for (int x = 0; x < a.width; ++x)
                for (int half = 0; half < 2; ++half) {
                    float const* from = g.grad_out + ((std::int64_t{2} * row + half) * 2 * a.width + 2 * x) * a.out_channels;
                    std::copy_n(from, 2 * a.out_channels, blocks + ((std::int64_t{row} * a.width + x) * 2 + half) * 2 * a.out_channels);
                }
        });
    if (g.grad_x) {
        GemmArgs<float, PackedMatrix> product;
        product.m = pixels;
        product.n = a.channels;
        product.k = n;
        product.a = blocks;
        product.a_stride = n;
        product.weight = g.transposed_weight;
        product.residual = product.out = g.grad_x;
        product.residual_stride = product.out_stride = a.channels;
        gemm(c, product);
    }
    if (g.grad_weight) gemm_backward(c, GemmBackwardArgs<float>{pixels, n, a.channels, a.x, a.channels, blocks, n, g.grad_weight, nullptr});
    if (g.grad_bias) add_column_sums(c, 4 * pixels, a.out_channels, g.grad_out, a.out_channels, g.grad_bias);
}

}  // namespace samed::kernels
