// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>

#include <samed/core/types.hpp>

namespace samed::kernels {

/// out = (x - mean) / sqrt(variance + eps) * weight over all pixels and channels of an image together, biased variance; the bias is
/// added by the caller (`add` takes an activation with it).
///
/// @param  x, out  [batch, pixels, channels]; `out` may be `x`
/// @param  weight  [channels]
/// @source Wu & He 2018 (Group Normalization), one group
template <class T>
struct GroupNormArgs {
    int batch = 1;
    std::int64_t pixels = 0;
    int channels = 0;
    T const* x = nullptr;
    T const* weight = nullptr;
    Arithmetic<T> eps = Arithmetic<T>(1e-5);
    T* out = nullptr;
};

namespace reference {

/// One image.
template <class T>
void group_norm(GroupNormArgs<T> const& g, int image) {
    std::int64_t const count = g.pixels * g.channels;
    T const* x = g.x + image * count;
    T* out = g.out + image * count;
    // In double: a million terms. The square of a difference of floats is exact there, so that no instruction set fuses differently.
    double sum = 0, squares = 0;
    for (std::int64_t i = 0; i < count; ++i) sum += static_cast<double>(x[i]);
    T const mean = static_cast<T>(sum / static_cast<double>(count));
    for (std::int64_t i = 0; i < count; ++i) {
        double const d = static_cast<double>(x[i] - mean);
        squares += d * d;
    }
    T const rstd = static_cast<T>(1 / std::sqrt(squares / static_cast<double>(count) + static_cast<double>(g.eps)));
    for (std::int64_t i = 0, c = 0; i < count; ++i) {
        out[i] = (x[i] - mean) * rstd * g.weight[c];
        if (++c == g.channels) c = 0;
    }
}

template <class T>
void group_norm(GroupNormArgs<T> const& g) {
    for (int image = 0; image < g.batch; ++image) group_norm(g, image);
}

}  // namespace reference
}  // namespace samed::kernels
