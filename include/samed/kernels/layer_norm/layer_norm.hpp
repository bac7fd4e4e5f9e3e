// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>

#include <samed/core/types.hpp>
#include <samed/kernels/activation.hpp>

namespace samed::kernels {

/// out = activation((x - mean) / sqrt(variance + eps) * weight + bias) over the last axis, biased variance.
///
/// SAM's LayerNorm2d is the same over channels when channels are innermost.
/// @param  x     [rows, width]
/// @param  weight, bias  [width]
/// @param  out   [rows, width], may be `x`
/// @param  mean, rstd  [rows] or null; kept for the backward pass
/// @source Ba et al. 2016; segment-anything `LayerNorm2d`
template <class T>
struct LayerNormArgs {
    std::int64_t rows = 0;
    int width = 0;
    T const* x = nullptr;
    T const* weight = nullptr;
    T const* bias = nullptr;
    Arithmetic<T> eps = Arithmetic<T>(1e-6);
    T* out = nullptr;
    Activation activation = Activation::none;
    T* mean = nullptr;
    T* rstd = nullptr;
};

namespace reference {

template <class T>
void layer_norm(LayerNormArgs<T> const& l) {
    for (std::int64_t r = 0; r < l.rows; ++r) {
        T const* x = l.x + r * l.width;
        T* out = l.out + r * l.width;
        T mean = 0;
        for (int c = 0; c < l.width; ++c) mean += x[c];
        mean /= T(l.width);
        T variance = 0;
        for (int c = 0; c < l.width; ++c) variance += (x[c] - mean) * (x[c] - mean);
        variance /= T(l.width);
        T const rstd = T(1) / std::sqrt(variance + l.eps);
        for (int c = 0; c < l.width; ++c) out[c] = activate(l.activation, (x[c] - mean) * rstd * l.weight[c] + l.bias[c]);
        if (l.mean) l.mean[r] = mean;
        if (l.rstd) l.rstd[r] = rstd;
    }
}

}  // namespace reference
}  // namespace samed::kernels
