// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>

#include <samed/kernels/conv2d/conv2d_backward.hpp>
#include <samed/kernels/conv2d/conv2d_cpu.hpp>
#include <samed/kernels/gemm/gemm_backward_cpu.hpp>

namespace samed::kernels {

/// grad_x of one row of pixels: each pixel gathers from the outputs that it took part in, in a fixed order.
inline void gather_columns(Conv2dArgs<float, PackedMatrix> const& a, int row_of_batch, float const* columns, float* grad_x) {
    int const b = row_of_batch / a.height, y = row_of_batch % a.height, out_h = a.out_height(), out_w = a.out_width();
    for (int x = 0; x < a.width; ++x) {
        float* const to = grad_x + b * a.batch_stride + y * a.row_stride + x * a.column_stride;
        for (int i = 0; i < a.kernel; ++i)
            for (int j = 0; j < a.kernel; ++j) {
                int const down = y + a.padding - i, across = x + a.padding - j;
                if (down < 0 || across < 0 || down % a.stride || across % a.stride || down / a.stride >= out_h ||
                    across / a.stride >= out_w)
                    continue;
                std::int64_t const pixel = (std::int64_t{b} * out_h + down / a.stride) * out_w + across / a.stride;
                float const* from = columns + (pixel * a.kernel * a.kernel + i * a.kernel + j) * a.channels;
                for (int ch = 0; ch < a.channels; ++ch) to[ch] += from[ch];
            }
    }
}

/// Two GEMMs over the im2col matrix, which the gradients need in memory: grad_x gathers from its gradient, grad_weight reads it.
inline void conv2d_backward(CpuContext& c, Conv2dBackwardArgs<float, PackedMatrix> const& g) {
    Conv2dArgs<float, PackedMatrix> const& a = g.forward;
    int const pixels = a.batch * a.out_height() * a.out_width(), k = a.kernel * a.kernel * a.channels;
    if (pixels == 0) return;
    SAMED_ASSERT(a.channel_stride == 1);
    Arena::Frame frame(c.arena());
    float* const columns = c.arena().take<float>(std::size_t(pixels) * std::size_t(k));
    if (g.grad_x) {
        GemmArgs<float, PackedMatrix> product;
        product.m = pixels;
        product.n = k;
        product.k = a.out_channels;
        product.a = g.grad_out;
        product.a_stride = a.out_channels;
        product.weight = g.transposed_weight;
        product.out = columns;
        product.out_stride = k;
        gemm(c, product);
        if (!c.planning()) parallel_for(c.executor(), a.batch * a.height, [&](int row, int) { gather_columns(a, row, columns, g.grad_x); });
    }
    GemmBackwardArgs<float> product{pixels, a.out_channels, k, columns, k, g.grad_out, a.out_channels, g.grad_weight, g.grad_bias};
    if (g.grad_weight && !c.planning()) {
        GatheredConvRows const rows(a);
        parallel_for(c.executor(), pixels, [&](int pixel, int) { rows.locate(pixel, 0, columns + std::int64_t{pixel} * k); });
    }
    gemm_backward(c, product);
}

}  // namespace samed::kernels
