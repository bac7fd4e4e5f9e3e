// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <samed/kernels/gemm/gemm.hpp>

namespace samed::kernels {

/// Transposed convolution, kernel 2 and stride 2: every input pixel owns a 2 x 2 block of the output, nothing overlaps.
///
/// @param  x       [batch, height, width, channels]
/// @param  weight  [2 * 2 * out_channels, channels], outer order (row, column, out channel)
/// @param  bias    [out_channels] or null
/// @param  out     [batch, 2 * height, 2 * width, out_channels]
/// @cost   4 * batch * height * width * out_channels * channels multiply-adds
/// @source segment-anything `MaskDecoder.output_upscaling`
template <class T, class Matrix>
struct ConvTranspose2dArgs {
    int batch = 1, height = 0, width = 0, channels = 0, out_channels = 0;
    T const* x = nullptr;
    Matrix weight{};
    T const* bias = nullptr;
    T* out = nullptr;
    Activation activation = Activation::none;
};

namespace reference {

template <class T>
void conv_transpose2d(ConvTranspose2dArgs<T, DenseMatrix<T>> const& c) {
    for (int b = 0; b < c.batch; ++b)
        for (int y = 0; y < 2 * c.height; ++y)
            for (int x = 0; x < 2 * c.width; ++x)
                for (int o = 0; o < c.out_channels; ++o) {
                    T const* in = c.x + ((std::int64_t{b} * c.height + y / 2) * c.width + x / 2) * c.channels;
                    T const* w = c.weight.data + (std::int64_t{(y % 2) * 2 + x % 2} * c.out_channels + o) * c.channels;
                    T sum = 0;
                    for (int ch = 0; ch < c.channels; ++ch) sum = std::fma(in[ch], w[ch], sum);
                    if (c.bias) sum += c.bias[o];
                    c.out[((std::int64_t{b} * 2 * c.height + y) * 2 * c.width + x) * c.out_channels + o] = activate(c.activation, sum);
                }
}

}  // namespace reference
}  // namespace samed::kernels
