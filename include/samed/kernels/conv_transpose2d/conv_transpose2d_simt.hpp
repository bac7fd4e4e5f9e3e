// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/kernels/conv_transpose2d/conv_transpose2d.hpp>
#include <samed/kernels/gemm/gemm_simt.hpp>

namespace samed::kernels {

/// out = activation(blocks + bias), the four pixels of every block in their places.
///
/// @param  blocks  [batch * height, width, 2, 2, channels]
/// @param  out     [batch * height, 2, 2 * width, channels]
template <class T>
struct ScatterArgs {
    int rows = 0, width = 0, channels = 0;  ///< rows of all images
    T const* blocks = nullptr;
    T const* bias = nullptr;
    T* out = nullptr;
    Activation activation = Activation::none;
};

/// One thread n channels of a pixel of the output.
template <class T, int n>
struct ScatterKernel {
    using Args = ScatterArgs<T>;
    static constexpr int threads = 256;
    static std::size_t shared_bytes(Args const&) { return 0; }

    template <class S>
    SAMED_DEVICE static void run(S& s, Args const& a) {
        std::int64_t const at = (std::int64_t{s.block_x()} * threads + s.thread()) * n, pixel = at / a.channels;
        int const channel = static_cast<int>(at - pixel * a.channels), x = static_cast<int>(pixel % (2 * a.width));
        std::int64_t const y = pixel / (2 * a.width);
        if (y >= 2 * std::int64_t{a.rows}) return;
        std::int64_t const block = y / 2 * a.width + x / 2;
        float values[n], bias[n] = {};
        simt::read(a.blocks + (block * 4 + y % 2 * 2 + x % 2) * a.channels + channel, values);
        if (a.bias) simt::read(a.bias + channel, bias);
        for (int v = 0; v < n; ++v) values[v] = activate(a.activation, values[v] + bias[v]);
        simt::write(values, a.out + at);
    }
};

template <SimtContext C>
void conv_transpose2d(C& c, ConvTranspose2dArgs<typename C::Scalar, DenseMatrix<typename C::Scalar>> const& a) {
    using T = typename C::Scalar;
    constexpr int n = simt::vector<T>;
    int const pixels = a.batch * a.height * a.width, columns = 4 * a.out_channels;
    if (pixels == 0 || columns == 0) return;
    Arena::Frame frame(c.arena());
    std::int64_t const size = std::int64_t{pixels} * columns;
    T* const blocks = c.arena().template take<T>(std::size_t(size));
    c.multiply({pixels, columns, a.channels, a.x, a.channels, a.weight.data, nullptr, nullptr, 0, blocks, columns});
    ScatterArgs<T> const scatter{a.batch * a.height, a.width, a.out_channels, blocks, a.bias, a.out, a.activation};
    if (simt::in_vectors<T>({a.out_channels}, {blocks, a.bias, a.out}))
        c.template launch<ScatterKernel<T, n>>(simt::blocks(size, ScatterKernel<T, n>::threads * n), scatter);
    else
        c.template launch<ScatterKernel<T, 1>>(simt::blocks(size, ScatterKernel<T, 1>::threads), scatter);
}

}  // namespace samed::kernels
