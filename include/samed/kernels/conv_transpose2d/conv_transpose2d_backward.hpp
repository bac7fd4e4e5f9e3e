// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>

#include <samed/kernels/conv_transpose2d/conv_transpose2d.hpp>

namespace samed::kernels {

/// Backward of the transposed convolution without activation.
///
/// @param  forward            the arguments of the forward pass; `x` is read where grad_weight is wanted, weight and out are not
/// @param  transposed_weight  [channels, 2 * 2 * out_channels], read where grad_x is wanted
/// @param  grad_out           [batch, 2 * height, 2 * width, out_channels]
/// @param  grad_x             [batch, height, width, channels] or null; added to
/// @param  grad_weight        [2 * 2 * out_channels, channels] or null; added to
/// @param  grad_bias          [out_channels] or null; added to
template <class T, class Matrix>
struct ConvTranspose2dBackwardArgs {
    ConvTranspose2dArgs<T, Matrix> forward{};
    Matrix transposed_weight{};
    T const* grad_out = nullptr;
    T* grad_x = nullptr;
    T* grad_weight = nullptr;
    T* grad_bias = nullptr;
};

namespace reference {

template <class T>
void conv_transpose2d_backward(ConvTranspose2dBackwardArgs<T, DenseMatrix<T>> const& g) {
    ConvTranspose2dArgs<T, DenseMatrix<T>> const& c = g.forward;
    for (int b = 0; b < c.batch; ++b)
        for (int y = 0; y < 2 * c.height; ++y)
            for (int x = 0; x < 2 * c.width; ++x)
                for (int o = 0; o < c.out_channels; ++o) {
                    T const grad = g.grad_out[((std::int64_t{b} * 2 * c.height + y) * 2 * c.width + x) * c.out_channels + o];
                    if (g.grad_bias) g.grad_bias[o] += grad;
                    std::int64_t const pixel = ((std::int64_t{b} * c.height + y / 2) * c.width + x / 2) * c.channels;
                    std::int64_t const row = std::int64_t{(y % 2) * 2 + x % 2} * c.out_channels + o;
                    for (int ch = 0; ch < c.channels; ++ch) {
                        if (g.grad_x)
                            g.grad_x[pixel + ch] =
                                std::fma(grad, g.transposed_weight.data[std::int64_t{ch} * 4 * c.out_channels + row], g.grad_x[pixel + ch]);
                        if (!g.grad_weight) continue;
                        T& sum = g.grad_weight[row * c.channels + ch];
                        sum = std::fma(grad, c.x[pixel + ch], sum);
                    }
                }
}

}  // namespace reference
}  // namespace samed::kernels
