// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/kernels/mask_product/mask_product.hpp>

namespace samed::kernels {

/// Backward of the hypernetwork product.
///
/// @param  forward         the arguments of the forward pass; `out` is not read
/// @param  grad_out        [batch, masks, pixels]
/// @param  grad_hyper      [batch, masks, channels], added to
/// @param  grad_upscaled   [batch, pixels, channels], added to
/// @cost   2 * batch * masks * pixels * channels multiply-adds
template <class T>
struct MaskProductBackwardArgs {
    MaskProductArgs<T> forward{};
    T const* grad_out = nullptr;
    T* grad_hyper = nullptr;
    T* grad_upscaled = nullptr;
};

namespace reference {

template <class T>
void mask_product_backward(MaskProductBackwardArgs<T> const& g) {
    MaskProductArgs<T> const& a = g.forward;
    for (int b = 0; b < a.batch; ++b)
        for (int m = 0; m < a.masks; ++m)
            for (int p = 0; p < a.pixels; ++p) {
                std::int64_t const h = (std::int64_t{b} * a.masks + m) * a.channels, u = (std::int64_t{b} * a.pixels + p) * a.channels;
                T const grad = g.grad_out[(std::int64_t{b} * a.masks + m) * a.pixels + p];
                for (int c = 0; c < a.channels; ++c) {
                    g.grad_hyper[h + c] = std::fma(grad, a.upscaled[u + c], g.grad_hyper[h + c]);
                    g.grad_upscaled[u + c] = std::fma(grad, a.hyper[h + c], g.grad_upscaled[u + c]);
                }
            }
}

}  // namespace reference
}  // namespace samed::kernels
