// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <samed/core/macros.hpp>
#include <samed/core/result.hpp>
#include <samed/core/tensor.hpp>
#include <samed/core/view.hpp>
#include <samed/image/bilinear.hpp>
#include <samed/image/image.hpp>
#include <samed/image/preprocess.hpp>
#include <samed/image/rounding.hpp>
#include <samed/image/spline_zoom.hpp>

namespace samed {

/// Memory of `upscale_mask`. Grows when a larger image arrives: no allocation for sizes seen before.
struct MaskScratch {
    Buffer<detail::BilinearTap> taps;  ///< of the middle columns, then of the image's
    Buffer<float> rows;                ///< two rows of the middle image, one row of logits
};

namespace detail {

/// The four taps of PyTorch's bicubic interpolation without antialiasing, clamped to the edge.
struct CubicTaps {
    int at[4];
    float weight[4];
};

inline CubicTaps cubic_taps(int index, int size, int resized) {
    constexpr double a = -0.75;
    double const position = rounded(static_cast<double>(size) / resized * (index + 0.5)) - 0.5, floor = std::floor(position),
                 t = position - floor;
    auto const near = [](double x) { return (rounded((a + 2) * x) - (a + 3)) * x * x + 1; };
    auto const far = [](double x) { return ((rounded(a * x) - 5 * a) * x + 8 * a) * x - 4 * a; };
    CubicTaps taps;
    double const weights[4] = {far(t + 1), near(t), near(1 - t), far(2 - t)};
    for (int k = 0; k < 4; ++k) {
        taps.at[k] = std::clamp(static_cast<int>(floor) - 1 + k, 0, size - 1);
        taps.weight[k] = static_cast<float>(weights[k]);
    }
    return taps;
}

}  // namespace detail

/// PyTorch's bicubic of one plane, align_corners = False.
/// @param in  [height, width], `step` values apart
inline void bicubic(float const* in, int height, int width, std::ptrdiff_t step, int resized_height, int resized_width, float* out,
                    std::ptrdiff_t out_step = 1) {
    std::vector<detail::CubicTaps> columns;
    for (int x = 0; x < resized_width; ++x) columns.push_back(detail::cubic_taps(x, width, resized_width));
    for (int y = 0; y < resized_height; ++y) {
        detail::CubicTaps const down = detail::cubic_taps(y, height, resized_height);
        for (detail::CubicTaps const& along : columns) {
            double sum = 0;
            for (int i = 0; i < 4; ++i) {
                double row = 0;  // products of two floats are exact in double
                for (int k = 0; k < 4; ++k)
                    row += double{in[(static_cast<std::ptrdiff_t>(down.at[i]) * width + along.at[k]) * step]} * double{along.weight[k]};
                sum += rounded(row * double{down.weight[i]});
            }
            *out = static_cast<float>(sum);
            out += out_step;
        }
    }
}

namespace detail {

/// sigmoid, bilinear in one step, and back to a logit: above 0 where the probability is above 0.5.
inline void upscale_probabilities(ViewN<float const, 2> low_res, Placement const& placement, MaskScratch& scratch, float* probabilities,
                                  float* logits, std::uint8_t* mask) {
    int const height = placement.input_height, width = placement.input_width, low_width = low_res.size(1);
    std::size_t const count = static_cast<std::size_t>(low_res.size(0)) * static_cast<std::size_t>(low_width);
    for (std::size_t i = 0; i < count; ++i) probabilities[i] = static_cast<float>(1 / (1 + std::exp(-double{low_res.data[i]})));
    for (int x = 0; x < width; ++x) scratch.taps.data()[x] = bilinear_tap(x, low_width, width);
    float* const row = probabilities + count;
    for (int y = 0; y < height; ++y) {
        BilinearTap const tap = bilinear_tap(y, low_res.size(0), height);
        float const* const above = probabilities + static_cast<std::ptrdiff_t>(tap.first) * low_width;
        float const* const below = tap.first + 1 < low_res.size(0) ? above + low_width : above;
        bilinear_row(above, below, low_width, tap.weight, scratch.taps.data(), width, row);
        std::ptrdiff_t const first = static_cast<std::ptrdiff_t>(y) * width;
        for (int x = 0; x < width; ++x) {
            if (mask != nullptr) mask[first + x] = row[x] > 0.5f;
            if (logits == nullptr) continue;
            double const p = std::clamp(double{row[x]}, 1e-30, 1 - 1e-9);
            logits[first + x] = static_cast<float>(std::log(p / (1 - p)));
        }
    }
}

}  // namespace detail

/// One mask from the decoder's grid to the caller's image, as SAM does it: bilinear to image_size, padding cut off, bilinear to
/// the image, mask where the logit is above 0. Only the two rows of the middle image that are in use exist at a time. Other ways: see
/// MaskUpscale.
/// @param low_res  [h, w] logits of the decoder
/// @param logits   [input_height, input_width], or nullptr
/// @param mask     [input_height, input_width] of 0 and 1, or nullptr
/// @errors out_of_memory
inline Result<void> upscale_mask(ViewN<float const, 2> low_res, int image_size, Placement const& placement, float* logits,
                                 std::uint8_t* mask, MaskScratch& scratch, MaskUpscale way = MaskUpscale::logits) {
    if (way == MaskUpscale::probabilities) {
        std::size_t const low = static_cast<std::size_t>(low_res.size(0)) * static_cast<std::size_t>(low_res.size(1));
        SAMED_CHECK(detail::grow(scratch.taps, static_cast<std::size_t>(placement.input_width)));
        SAMED_CHECK(detail::grow(scratch.rows, low + static_cast<std::size_t>(placement.input_width)));
        detail::upscale_probabilities(low_res, placement, scratch, scratch.rows.data(), logits, mask);
        return {};
    }
    if (way == MaskUpscale::bicubic) {
        std::size_t const count = static_cast<std::size_t>(placement.input_height) * static_cast<std::size_t>(placement.input_width);
        if (logits == nullptr) SAMED_CHECK(detail::grow(scratch.rows, count));
        float* const values = logits != nullptr ? logits : scratch.rows.data();
        bicubic(low_res.data, low_res.size(0), low_res.size(1), 1, placement.input_height, placement.input_width, values);
        for (std::size_t i = 0; mask != nullptr && i < count; ++i) mask[i] = values[i] >= 0;
        return {};
    }
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
/// order-0 zoom for `Resize::spline`, as SAMed; where the resize pads, the padding is cut off first.
inline void labels_to_input(ViewN<std::uint8_t const, 2> labels, Placement const& placement, LabelMap out) {
    SAMED_ASSERT(out.size(0) == placement.input_height && out.size(1) == placement.input_width);
    auto const filled =
        ImageView<std::uint8_t const>{labels.data, placement.resized_height, placement.resized_width, 1, labels.size(1), 1, 0};
    label_zoom(filled, out);
}

}  // namespace samed
