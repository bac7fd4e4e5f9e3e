// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include <samed/kernels/gemm/gemm.hpp>

namespace samed::kernels {

/// Convolution with a square kernel and zero padding: out = activation(conv(x) + bias) + residual.
///
/// @param  x       batch x channels x height x width in any strides (planar images, channels-last features)
/// @param  weight  [out_channels, kernel * kernel * channels], inner order (row, column, channel)
/// @param  bias    [out_channels] or null
/// @param  residual  [out_h, out_w, out_channels], the same for every image of the batch (position embedding), or null
/// @param  out     [batch, out_h, out_w, out_channels] with out_h = (height + 2 * padding - kernel) / stride + 1
/// @cost   batch * out_h * out_w * out_channels * kernel * kernel * channels multiply-adds
template <class T, class Matrix>
struct Conv2dArgs {
    int batch = 1, height = 0, width = 0, channels = 0, out_channels = 0;
    int kernel = 1, stride = 1, padding = 0;
    T const* x = nullptr;
    std::int64_t batch_stride = 0, row_stride = 0, column_stride = 0, channel_stride = 0;
    Matrix weight{};
    T const* bias = nullptr;
    T const* residual = nullptr;
    T* out = nullptr;
    Activation activation = Activation::none;

    int out_height() const { return (height + 2 * padding - kernel) / stride + 1; }
    int out_width() const { return (width + 2 * padding - kernel) / stride + 1; }
};

namespace reference {

template <class T>
void conv2d(Conv2dArgs<T, DenseMatrix<T>> const& c) {
    int const out_h = c.out_height(), out_w = c.out_width();
    for (int b = 0; b < c.batch; ++b)
        for (int y = 0; y < out_h; ++y)
            for (int x = 0; x < out_w; ++x)
                for (int o = 0; o < c.out_channels; ++o) {
                    T const* w = c.weight.data + std::int64_t{o} * c.kernel * c.kernel * c.channels;
                    T sum = 0;
                    for (int i = 0; i < c.kernel; ++i)
                        for (int j = 0; j < c.kernel; ++j)
                            for (int ch = 0; ch < c.channels; ++ch, ++w) {
                                int const row = y * c.stride - c.padding + i, column = x * c.stride - c.padding + j;
                                if (row < 0 || row >= c.height || column < 0 || column >= c.width) continue;
                                sum = std::fma(c.x[b * c.batch_stride + row * c.row_stride + column * c.column_stride + ch * c.channel_stride],
                                               *w, sum);
                            }
                    if (c.bias) sum += c.bias[o];
                    sum = activate(c.activation, sum);
                    std::int64_t const pixel = std::int64_t{y} * out_w + x;
                    if (c.residual) sum += c.residual[pixel * c.out_channels + o];
                    c.out[(std::int64_t{b} * out_h * out_w + pixel) * c.out_channels + o] = sum;
                }
}

}  // namespace reference
}  // namespace samed::kernels
