// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>

#include <samed/core/macros.hpp>

namespace samed::kernels {

/// Two neighbours and their weights on one axis under PyTorch's half-pixel rule: source = max(0, (i + 0.5) * in / out - 0.5).
struct BilinearTap {
    int low, high;
    float weight_high;  ///< weight of `high`; that of `low` is 1 - weight_high
};
SAMED_HOST_DEVICE inline BilinearTap bilinear_tap(int i, int in, int out) {
    float const scale = static_cast<float>(in) / static_cast<float>(out);
    float const at = std::fma(static_cast<float>(i) + 0.5f, scale, -0.5f);
    float const source = at > 0 ? at : 0;
    int const low = static_cast<int>(source) < in - 1 ? static_cast<int>(source) : in - 1;
    return {low, low + 1 < in ? low + 1 : low, source - static_cast<float>(low)};
}

/// Bilinear resize without antialiasing, `align_corners=False`.
///
/// @param  x    [planes, in_height, in_width]
/// @param  out  [planes, out_height, out_width]
template <class T>
struct BilinearArgs {
    int planes = 1, in_height = 0, in_width = 0, out_height = 0, out_width = 0;
    T const* x = nullptr;
    T* out = nullptr;
};

namespace reference {

template <class T>
T bilinear_at(T const* plane, int in_width, BilinearTap row, BilinearTap column) {
    T const* upper = plane + std::int64_t{row.low} * in_width;
    T const* lower = plane + std::int64_t{row.high} * in_width;
    T const h = T(row.weight_high), w = T(column.weight_high);
    T const left = std::fma(h, lower[column.low] - upper[column.low], upper[column.low]);
    T const right = std::fma(h, lower[column.high] - upper[column.high], upper[column.high]);
    return std::fma(w, right - left, left);
}

template <class T>
void bilinear(BilinearArgs<T> const& r) {
    for (int p = 0; p < r.planes; ++p)
        for (int y = 0; y < r.out_height; ++y)
            for (int x = 0; x < r.out_width; ++x)
                r.out[(std::int64_t{p} * r.out_height + y) * r.out_width + x] =
                    bilinear_at(r.x + std::int64_t{p} * r.in_height * r.in_width, r.in_width, bilinear_tap(y, r.in_height, r.out_height),
                                bilinear_tap(x, r.in_width, r.out_width));
}

}  // namespace reference
}  // namespace samed::kernels
