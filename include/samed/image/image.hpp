// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include <samed/core/view.hpp>

namespace samed {

/// Pixels where the caller has them: any strides, in elements. Never copied, never owned.
template <class T>
struct ImageView {
    T* data = nullptr;
    int height = 0, width = 0, channels = 1;
    std::ptrdiff_t row_stride = 0, column_stride = 0, channel_stride = 0;

    T& operator()(int row, int column, int channel = 0) const {
        return data[row * row_stride + column * column_stride + channel * channel_stride];
    }
};

/// [H, W, channels], channels innermost: photographs.
template <class T>
constexpr ImageView<T> interleaved(T* data, int height, int width, int channels = 1) {
    return {data, height, width, channels, std::ptrdiff_t{width} * channels, channels, 1};
}

/// [channels, H, W]: slices, tensors.
template <class T>
constexpr ImageView<T> planar(T* data, int height, int width, int channels = 1) {
    return {data, height, width, channels, width, 1, std::ptrdiff_t{height} * width};
}

/// One label a pixel, [H, W], 0 = background.
using LabelMap = ViewN<std::uint8_t, 2>;

}  // namespace samed
