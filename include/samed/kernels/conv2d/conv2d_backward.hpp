// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>

#include <samed/kernels/conv2d/conv2d.hpp>

namespace samed::kernels {

/// Backward of a convolution of channels-last features without activation or residual.
///
/// @param  forward            the arguments of the forward pass: sizes, `x` where grad_weight is wanted, strides of x and grad_x
///                            (`channel_stride` 1)
/// @param  transposed_weight  [kernel * kernel * channels, out_channels], read where grad_x is wanted
/// @param  grad_out           [batch, out_h, out_w, out_channels]
/// @param  grad_x             as x, or null; added to
/// @param  grad_weight        [out_channels, kernel * kernel * channels] or null; added to
/// @param  grad_bias          [out_channels] or null; added to
/// @cost   two forward passes; kernel * kernel copies of x or grad_x as scratch
template <class T, class Matrix>
struct Conv2dBackwardArgs {
    Conv2dArgs<T, Matrix> forward{};
    Matrix transposed_weight{};
    T const* grad_out = nullptr;
    T* grad_x = nullptr;
    T* grad_weight = nullptr;
    T* grad_bias = nullptr;
};

namespace reference {

template <class T>
void conv2d_backward(Conv2dBackwardArgs<T, DenseMatrix<T>> const& g) {
    Conv2dArgs<T, DenseMatrix<T>> const& c = g.forward;
    int const out_h = c.out_height(), out_w = c.out_width(), taps = c.kernel * c.kernel;
    for (int b = 0; b < c.batch; ++b)
        for (int y = 0; y < out_h; ++y)
            for (int x = 0; x < out_w; ++x)
                for (int o = 0; o < c.out_channels; ++o) {
                    T const grad = g.grad_out[((std::int64_t{b} * out_h + y) * out_w + x) * c.out_channels + o];
                    if (g.grad_bias) g.grad_bias[o] += grad;
                    for (int tap = 0; tap < taps; ++tap) {
                        int const row = y * c.stride - c.padding + tap / c.kernel, column = x * c.stride - c.padding + tap % c.kernel;
                        if (row < 0 || row >= c.height || column < 0 || column >= c.width) continue;
                        std::int64_t const at = b * c.batch_stride + row * c.row_stride + column * c.column_stride;
                        for (int ch = 0; ch < c.channels; ++ch) {
                            std::int64_t const weight = std::int64_t{tap} * c.channels + ch;
                            if (g.grad_x)
                                g.grad_x[at + ch] =
                                    std::fma(grad, g.transposed_weight.data[weight * c.out_channels + o], g.grad_x[at + ch]);
                            if (!g.grad_weight) continue;
                            T& sum = g.grad_weight[std::int64_t{o} * taps * c.channels + weight];
                            sum = std::fma(grad, c.x[at + ch], sum);
                        }
                    }
                }
}

}  // namespace reference
}  // namespace samed::kernels
