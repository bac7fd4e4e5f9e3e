// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <samed/core/macros.hpp>
#include <samed/core/result.hpp>
#include <samed/core/tensor.hpp>
#include <samed/core/view.hpp>
#include <samed/image/image.hpp>
#include <samed/image/preprocess.hpp>
#include <samed/image/rounding.hpp>
#include <samed/image/spline_zoom.hpp>

namespace samed {

namespace detail {

/// Left source sample and weight of its right neighbour, for half-pixel centres (align_corners = False), in f32 as PyTorch.
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

}  // namespace detail

/// Memory of `upscale_mask`. Grows when a larger image arrives: no allocation for sizes seen before.
struct MaskScratch {
    Buffer<detail::BilinearTap> taps;  ///< of the middle columns, then of the image's
    Buffer<float> rows;                ///< two rows of the middle image, one row of logits
};

/// One mask from the decoder's grid to the caller's image, as SAM does it: bilinear to image_size, padding cut off, bilinear to
/// the image, mask where the logit is above 0. Only the two rows of the middle image that are in use exist at a time.
/// @param low_res  [h, w] logits of the decoder
/// @param logits   [input_height, input_width], or nullptr
/// @param mask     [input_height, input_width] of 0 and 1, or nullptr
/// @errors out_of_memory
inline Result<void> upscale_mask(ViewN<float const, 2> low_res, int image_size, Placement const& placement, float* logits,
                                 std::uint8_t* mask, MaskScratch& scratch) {
    int const middle_height = placement.resized_height, middle_width = placement.resized_width;
    int const height = placement.input_height, width = placement.input_width;
    SAMED_CHECK(detail::grow(scratch.taps, static_cast<std::size_t>(middle_width) + static_cast<std::size_t>(width)));
    SAMED_CHECK(detail::grow(scratch.rows, 2 * static_cast<std::size_t>(middle_width) + static_cast<std::size_t>(width)));
    auto* const middle_taps = scratch.taps.data();
    auto* const taps = middle_taps + middle_width;
    for (int x = 0; x < middle_width; ++x) middle_taps[x] = detail::bilinear_tap(x, low_res.size(1), image_size);
    for (int x = 0; x < width; ++x) taps[x] = detail::bilinear_tap(x, middle_width, width);

    int held[2] = {-1, -1};  // the middle rows in scratch.rows, even and odd
    auto const middle_row = [&](int row) {
        float* const to = scratch.rows.data() + static_cast<std::ptrdiff_t>(row & 1) * middle_width;
        if (held[row & 1] == row) return to;
        held[row & 1] = row;
        auto const y = detail::bilinear_tap(row, low_res.size(0), image_size);
        float const* const above = low_res.data + static_cast<std::ptrdiff_t>(y.first) * low_res.size(1);
        float const* const below = y.first + 1 < low_res.size(0) ? above + low_res.size(1) : above;
        detail::bilinear_row(above, below, low_res.size(1), y.weight, middle_taps, middle_width, to);
        return to;
    };
    float* const spare = scratch.rows.data() + 2 * static_cast<std::ptrdiff_t>(middle_width);
    for (std::ptrdiff_t row = 0; row < height; ++row) {
        auto const y = detail::bilinear_tap(static_cast<int>(row), middle_height, height);
        float const* const above = middle_row(y.first);
        float const* const below = middle_row(std::min(y.first + 1, middle_height - 1));
        float* const to = logits != nullptr ? logits + row * width : spare;
        detail::bilinear_row(above, below, middle_width, y.weight, taps, width, to);
        if (mask != nullptr)
            for (int x = 0; x < width; ++x) mask[row * width + x] = to[x] > 0.0f;
    }
    return {};
}

/// Labels [image_size, image_size] of the network back to the caller's [input_height, input_width]. Nearest label by SciPy's
/// order-0 zoom for `Resize::spline`, as SAMed; for `Resize::longest_side` the padding is cut off first.
inline void labels_to_input(ViewN<std::uint8_t const, 2> labels, Placement const& placement, LabelMap out) {
    SAMED_ASSERT(out.size(0) == placement.input_height && out.size(1) == placement.input_width);
    auto const filled =
        ImageView<std::uint8_t const>{labels.data, placement.resized_height, placement.resized_width, 1, labels.size(1), 1, 0};
    label_zoom(filled, out);
}

}  // namespace samed
