// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include <samed/backend/simt_context.hpp>
#include <samed/core/simt_vector.hpp>
#include <samed/kernels/depthwise_conv2d/depthwise_conv2d.hpp>

namespace samed::kernels {

/// One thread n channels of a pixel of the output.
template <class T, int n>
struct DepthwiseConv2dKernel {
    struct Args {
        DepthwiseConv2dArgs<T> conv{};
        int out_height = 0, out_width = 0;
    };
    static constexpr int threads = 256;
    static std::size_t shared_bytes(Args const&) { return 0; }

    template <class S>
    SAMED_DEVICE static void run(S& s, Args const& a) {
        DepthwiseConv2dArgs<T> const& c = a.conv;
        std::int64_t const at = (std::int64_t{s.block_x()} * threads + s.thread()) * n, line = std::int64_t{a.out_width} * c.channels;
        if (at >= a.out_height * line) return;
        int const y = static_cast<int>(at / line), along = static_cast<int>(at % line), x = along / c.channels, ch = along % c.channels;
        T const* image = c.x + std::int64_t{s.block_y()} * c.height * c.width * c.channels + ch;
        float sums[n] = {};
        for (int i = 0; i < c.kernel; ++i)
            for (int j = 0; j < c.kernel; ++j) {
                int const row = y * c.stride - c.padding + i, column = x * c.stride - c.padding + j;
                if (row < 0 || row >= c.height || column < 0 || column >= c.width) continue;
                float pixel[n], weight[n];
                simt::read(image + (std::int64_t{row} * c.width + column) * c.channels, pixel);
                simt::read(c.weight + (i * c.kernel + j) * c.channels + ch, weight);
                for (int v = 0; v < n; ++v) sums[v] = std::fma(pixel[v], weight[v], sums[v]);
            }
        float bias[n] = {};
        if (c.bias) simt::read(c.bias + ch, bias);
        for (int v = 0; v < n; ++v) sums[v] = activate(c.activation, sums[v] + bias[v]);
        simt::write(sums, c.out + (std::int64_t{s.block_y()} * a.out_height + y) * line + along);
    }
};

template <SimtContext C>
void depthwise_conv2d(C& c, DepthwiseConv2dArgs<typename C::Scalar> const& a) {
    using T = typename C::Scalar;
    constexpr int n = simt::vector<T>;
    using Vectors = DepthwiseConv2dKernel<T, n>;
    using Values = DepthwiseConv2dKernel<T, 1>;
    int const height = a.out_height(), width = a.out_width();
    std::int64_t const size = std::int64_t{height} * width * a.channels;
    if (a.batch == 0 || size == 0) return;
    bool const vectors = simt::in_vectors<T>({a.channels}, {a.x, a.weight, a.bias, a.out});
    simt::Grid grid = simt::blocks(size, vectors ? Vectors::threads * n : Values::threads);
    grid.y = static_cast<unsigned>(a.batch);
    if (vectors)
        c.template launch<Vectors>(grid, {a, height, width});
    else
        c.template launch<Values>(grid, {a, height, width});
}

}  // namespace samed::kernels
