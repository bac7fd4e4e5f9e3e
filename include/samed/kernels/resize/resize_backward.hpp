// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/kernels/resize/resize.hpp>

namespace samed::kernels {

/// Backward of `bilinear`: every output gives its gradient to the four pixels that it was made of.
///
/// @param  forward   sizes; `x` and `out` are not read
/// @param  grad_out  [planes, out_height, out_width]
/// @param  grad_x    [planes, in_height, in_width], added to, in the order of the outputs
template <class T>
struct BilinearBackwardArgs {
    BilinearArgs<T> forward{};
    T const* grad_out = nullptr;
    T* grad_x = nullptr;
};

namespace reference {

template <class T>
void bilinear_backward_plane(BilinearArgs<T> const& r, T const* grad_out, T* grad_x) {
    for (int y = 0; y < r.out_height; ++y)
        for (int x = 0; x < r.out_width; ++x) {
            BilinearTap const row = bilinear_tap(y, r.in_height, r.out_height), column = bilinear_tap(x, r.in_width, r.out_width);
            T const h = T(row.weight_high), w = T(column.weight_high), grad = grad_out[std::int64_t{y} * r.out_width + x];
            T* const upper = grad_x + std::int64_t{row.low} * r.in_width;
            T* const lower = grad_x + std::int64_t{row.high} * r.in_width;
            upper[column.low] = std::fma((T(1) - h) * (T(1) - w), grad, upper[column.low]);
            upper[column.high] = std::fma((T(1) - h) * w, grad, upper[column.high]);
            lower[column.low] = std::fma(h * (T(1) - w), grad, lower[column.low]);
            lower[column.high] = std::fma(h * w, grad, lower[column.high]);
        }
}

template <class T>
void bilinear_backward(BilinearBackwardArgs<T> const& g) {
    BilinearArgs<T> const& r = g.forward;
    for (int p = 0; p < r.planes; ++p)
        bilinear_backward_plane(r, g.grad_out + std::int64_t{p} * r.out_height * r.out_width,
                                g.grad_x + std::int64_t{p} * r.in_height * r.in_width);
}

}  // namespace reference
}  // namespace samed::kernels
