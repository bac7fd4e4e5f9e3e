// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/kernels/conv2d/conv2d.hpp>
#include <samed/kernels/gemm/gemm_simt.hpp>

namespace samed::kernels {

/// The im2col matrix: a row a pixel of the output, in it what the kernel covers in the order (row, column, channel), zero outside.
///
/// @param  x    as in Conv2dArgs
/// @param  out  [batch, out_height, out_width, kernel * kernel * channels]
template <class T>
struct GatherArgs {
    int batch = 1, height = 0, width = 0, channels = 0;
    int kernel = 1, stride = 1, padding = 0, out_height = 0, out_width = 0;
    T const* x = nullptr;
    std::int64_t batch_stride = 0, row_stride = 0, column_stride = 0, channel_stride = 0;
    T* out = nullptr;
};

/// One thread n channels of one position of the kernel.
template <class T, int n>
struct GatherKernel {
    using Args = GatherArgs<T>;
    static constexpr int threads = 256;
    static std::size_t shared_bytes(Args const&) { return 0; }

    template <class S>
    SAMED_DEVICE static void run(S& s, Args const& g) {
        int const line = g.kernel * g.kernel * g.channels;
        std::int64_t const at = (std::int64_t{s.block_x()} * threads + s.thread()) * n;
        std::int64_t const pixel = at / line;
        int const along = static_cast<int>(at - pixel * line), position = along / g.channels, channel = along % g.channels;
        std::int64_t const image = pixel / (std::int64_t{g.out_height} * g.out_width);
        if (image >= g.batch) return;
        int const y = static_cast<int>(pixel / g.out_width % g.out_height) * g.stride - g.padding + position / g.kernel;
        int const x = static_cast<int>(pixel % g.out_width) * g.stride - g.padding + position % g.kernel;
        float values[n] = {};
        if (y >= 0 && y < g.height && x >= 0 && x < g.width)
            simt::read(g.x + image * g.batch_stride + y * g.row_stride + x * g.column_stride + channel * g.channel_stride, values);
        simt::write(values, g.out + at);
    }
};

/// A kernel of one pixel over evenly spaced pixels is a GEMM as it stands; others are one of the im2col matrix.
template <SimtContext C>
void conv2d(C& c, Conv2dArgs<typename C::Scalar, DenseMatrix<typename C::Scalar>> const& a) {
    using T = typename C::Scalar;
    constexpr int n = simt::vector<T>;
    int const height = a.out_height(), width = a.out_width();
    GemmArgs<T, DenseMatrix<T>> g;
    g.m = a.batch * height * width;
    g.n = a.out_channels;
    g.k = a.kernel * a.kernel * a.channels;
    if (g.m == 0 || g.n == 0) return;
    g.weight = a.weight;
    g.bias = a.bias;
    g.activation = a.activation;
    g.residual = a.residual;
    g.residual_stride = a.out_channels;
    g.residual_rows = height * width;
    g.out = a.out;
    g.out_stride = a.out_channels;

    Arena::Frame frame(c.arena());
    bool const even =
        a.channel_stride == 1 && a.row_stride == a.width * a.column_stride && (a.batch == 1 || a.batch_stride == a.height * a.row_stride);
    if (a.kernel == 1 && a.stride == 1 && a.padding == 0 && even) {
        g.a = a.x;
        g.a_stride = a.column_stride;
    } else {
        std::int64_t const size = std::int64_t{g.m} * g.k;
        T* const rows = c.arena().template take<T>(std::size_t(size));
        GatherArgs<T> const gather{a.batch, a.height, a.width,        a.channels,   a.kernel,        a.stride,         a.padding, height,
                                   width,   a.x,      a.batch_stride, a.row_stride, a.column_stride, a.channel_stride, rows};
        if (a.channel_stride == 1 && simt::in_vectors<T>({a.channels, a.batch_stride, a.row_stride, a.column_stride}, {a.x, rows}))
            c.template launch<GatherKernel<T, n>>(simt::blocks(size, GatherKernel<T, n>::threads * n), gather);
        else
            c.template launch<GatherKernel<T, 1>>(simt::blocks(size, GatherKernel<T, 1>::threads), gather);
        g.a = rows;
        g.a_stride = g.k;
    }
    gemm(c, g);
}

}  // namespace samed::kernels
