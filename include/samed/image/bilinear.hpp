// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include <samed/image/rounding.hpp>

// PyTorch's bilinear interpolation without antialiasing, half-pixel centres (align_corners = False), in f32.

namespace samed::detail {

/// Left source sample and weight of its right neighbour.
struct BilinearTap {
    int first;
    float weight;
};

inline BilinearTap bilinear_tap(int index, int size, int resized) {
    float const scale = static_cast<float>(size) / static_cast<float>(resized);
    float const position = std::max(0.0f, rounded(scale * (static_cast<float>(index) + 0.5f)) - 0.5f);
    int const first = std::min(static_cast<int>(position), size - 1);
    return {first, std::min(1.0f, position - static_cast<float>(first))};
}

/// (1 - weight) * a + weight * b, the second product rounded to f32, the first fused: PyTorch's vector kernels. The first product is
/// exact in double, so no instruction set changes the result.
inline float blend(float a, float b, float weight) {
    return static_cast<float>(static_cast<double>(1.0f - weight) * static_cast<double>(a) + static_cast<double>(weight * b));
}

/// out[x] of one row between two source rows: along the row first, then across.
inline void bilinear_row(float const* above, float const* below, int size, float across, BilinearTap const* taps, int resized, float* out) {
    for (int x = 0; x < resized; ++x) {
        int const first = taps[x].first, second = std::min(first + 1, size - 1);
        float const weight = taps[x].weight;
        out[x] = blend(blend(above[first], above[second], weight), blend(below[first], below[second], weight), across);
    }
}

}  // namespace samed::detail
