// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>

#include <samed/kernels/activation.hpp>

namespace samed::kernels {

/// Convolution of each channel with a square kernel of its own, zero padding: out = activation(conv(x) + bias).
///
/// @param  x       [batch, height, width, channels], contiguous
/// @param  weight  [kernel, kernel, channels]
/// @param  bias    [channels] or null
/// @param  out     [batch, out_h, out_w, channels] with out_h = (height + 2 * padding - kernel) / stride + 1; must not overlap `x`
/// @cost   batch * out_h * out_w * channels * kernel * kernel multiply-adds; every output is ONE chain of fused multiply-adds over
///         the kernel's taps inside the image, row by row, starting at zero
/// @source Howard et al. 2017 (MobileNets), section 3.1
template <class T>
struct DepthwiseConv2dArgs {
    int batch = 1, height = 0, width = 0, channels = 0;
    int kernel = 3, stride = 1, padding = 1;
    T const* x = nullptr;
    T const* weight = nullptr;
    T const* bias = nullptr;
    T* out = nullptr;
    Activation activation = Activation::none;

    int out_height() const { return (height + 2 * padding - kernel) / stride + 1; }
    int out_width() const { return (width + 2 * padding - kernel) / stride + 1; }
};

namespace reference {

template <class T>
void depthwise_conv2d(DepthwiseConv2dArgs<T> const& c) {
    int const out_h = c.out_height(), out_w = c.out_width();
    for (int b = 0; b < c.batch; ++b)
        for (int y = 0; y < out_h; ++y)
            for (int x = 0; x < out_w; ++x)
                for (int ch = 0; ch < c.channels; ++ch) {
                    T sum = 0;
                    for (int i = 0; i < c.kernel; ++i)
                        for (int j = 0; j < c.kernel; ++j) {
                            int const row = y * c.stride - c.padding + i, column = x * c.stride - c.padding + j;
                            if (row < 0 || row >= c.height || column < 0 || column >= c.width) continue;
                            sum = std::fma(c.x[((std::int64_t{b} * c.height + row) * c.width + column) * c.channels + ch],
                                           c.weight[(i * c.kernel + j) * c.channels + ch], sum);
                        }
                    if (c.bias) sum += c.bias[ch];
                    c.out[((std::int64_t{b} * out_h + y) * out_w + x) * c.channels + ch] = activate(c.activation, sum);
                }
}

}  // namespace reference
}  // namespace samed::kernels
