// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>

namespace samed::kernels {

/// Hypernetwork product: every mask is one vector's dot product with every pixel of the upscaled embedding.
///
/// @param  hyper     [batch, masks, channels]
/// @param  upscaled  [batch, pixels, channels]
/// @param  out       [batch, masks, pixels]
/// @cost   batch * masks * pixels * channels multiply-adds
/// @source Segment Anything, appendix A "Lightweight mask decoder"
template <class T>
struct MaskProductArgs {
    int batch = 1, masks = 0, pixels = 0, channels = 0;
    T const* hyper = nullptr;
    T const* upscaled = nullptr;
    T* out = nullptr;
};

namespace reference {

template <class T>
void mask_product(MaskProductArgs<T> const& a) {
    for (int b = 0; b < a.batch; ++b)
        for (int m = 0; m < a.masks; ++m)
            for (int p = 0; p < a.pixels; ++p) {
                T const* h = a.hyper + (std::int64_t{b} * a.masks + m) * a.channels;
                T const* u = a.upscaled + (std::int64_t{b} * a.pixels + p) * a.channels;
                T sum = 0;
                for (int c = 0; c < a.channels; ++c) sum = std::fma(h[c], u[c], sum);
                a.out[(std::int64_t{b} * a.masks + m) * a.pixels + p] = sum;
            }
}

}  // namespace reference
}  // namespace samed::kernels
