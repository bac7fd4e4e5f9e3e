// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/kernels/layer_norm/layer_norm.hpp>

namespace samed::kernels {

/// Backward of layer_norm, its activation included.
///
/// @param  forward      the arguments of the forward pass with `mean` and `rstd` that it wrote; `x` must not have been overwritten
/// @param  grad_out     [rows, width]
/// @param  grad_x       [rows, width] or null, added to
/// @param  grad_weight, grad_bias  [width] or null, added to: one chain over the rows in ascending order
/// @cost   about 10 rows * width multiply-adds
template <class T>
struct LayerNormBackwardArgs {
    LayerNormArgs<T> forward{};
    T const* grad_out = nullptr;
    T* grad_x = nullptr;
    T* grad_weight = nullptr;
    T* grad_bias = nullptr;
};

namespace reference {

template <class T>
void layer_norm_backward(LayerNormBackwardArgs<T> const& l) {
    LayerNormArgs<T> const& f = l.forward;
    auto const normed = [&](std::int64_t row, int c) { return (f.x[row * f.width + c] - f.mean[row]) * f.rstd[row]; };
    auto const grad = [&](std::int64_t row, int c) {  // before the activation
        return activation_slope(f.activation, std::fma(normed(row, c), f.weight[c], f.bias[c])) * l.grad_out[row * f.width + c];
    };
    for (std::int64_t r = 0; l.grad_x && r < f.rows; ++r) {
        T sum = 0, product = 0;
        for (int c = 0; c < f.width; ++c) {
            T const g = grad(r, c) * f.weight[c];
            sum += g;
            product = std::fma(g, normed(r, c), product);
        }
        sum /= T(f.width);
        product /= T(f.width);
        for (int c = 0; c < f.width; ++c)
            l.grad_x[r * f.width + c] += f.rstd[r] * (std::fma(-product, normed(r, c), grad(r, c) * f.weight[c]) - sum);
    }
    for (int c = 0; c < f.width; ++c) {
        T weight = 0, bias = 0;
        for (std::int64_t r = 0; r < f.rows; ++r) {
            T const g = grad(r, c);
            weight = std::fma(g, normed(r, c), weight);
            bias += g;
        }
        if (l.grad_weight) l.grad_weight[c] += weight;
        if (l.grad_bias) l.grad_bias[c] += bias;
    }
}

}  // namespace reference
}  // namespace samed::kernels
