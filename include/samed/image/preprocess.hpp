// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include <samed/config/image_config.hpp>
#include <samed/core/result.hpp>
#include <samed/core/tensor.hpp>
#include <samed/image/image.hpp>
#include <samed/image/pillow_resize.hpp>
#include <samed/image/spline_zoom.hpp>

namespace samed {

/// Longest side that is accepted.
inline constexpr int max_image_side = 16384;

/// Where the image lies inside the network's square input: prompts go in and masks come back through it.
struct Placement {
    int input_height = 0, input_width = 0;      ///< the caller's image
    int resized_height = 0, resized_width = 0;  ///< its share of the input, from the top left corner; the rest is padding

    /// Pixel coordinates of the caller's image to those of the network's input.
    float to_model_x(double x) const { return static_cast<float>(x * (static_cast<double>(resized_width) / input_width)); }
    float to_model_y(double y) const { return static_cast<float>(y * (static_cast<double>(resized_height) / input_height)); }
};

/// Memory of `preprocess`. Grows when a larger image arrives and keeps what it has: no allocation for sizes seen before.
struct PreprocessScratch {
    Buffer<float> values;          ///< [channels, H, W] after the intensity step
    Buffer<float> between;         ///< [via, via], one channel
    Buffer<std::uint8_t> bytes;    ///< [H, W, channels], then [resized_height, resized_width, channels]
    Buffer<double> coefficients;   ///< of spline_zoom
    Buffer<std::int32_t> weights;  ///< of pillow_resize
};

namespace detail {

template <class T>
Result<void> grow(Buffer<T>& buffer, std::size_t count) {
    if (buffer.size() >= count) return {};
    buffer = Buffer<T>();
    SAMED_TRY(buffer, Buffer<T>::allocate(count));
    return {};
}

inline Result<void> check_image(ImageView<float const> image, Recipe const& recipe) {
    auto const size = [&] { return text() << "[" << image.height << ", " << image.width << ", " << image.channels << "]"; };
    if (image.data == nullptr || image.height <= 0 || image.width <= 0)
        return fail(ErrorCode::invalid_argument, "image", "at least one pixel", size());
    if (image.height > max_image_side || image.width > max_image_side)
        return fail(ErrorCode::too_large, "image", text() << "sides of at most " << max_image_side, size());
    if (recipe.channels == Channels::repeat && image.channels != 1)
        return fail(ErrorCode::shape_mismatch, "image", "1 channel: the model was trained on grey images", size())
            .advise("pass one channel, or the mean of the colours if that is what the values mean");
    if (image.channels != 1 && image.channels != 3)
        return fail(ErrorCode::shape_mismatch, "image", "1 or 3 channels", size()).advise("drop the alpha channel");
    return {};
}

inline Error not_finite_at(float value, FixedText<160> position) {
    return fail(ErrorCode::not_finite, "image", "finite values", position << ": " << (std::isnan(value) ? "NaN" : "infinity"));
}

/// Intensity step into [channels, H, W].
inline Result<void> apply_intensity(ImageView<float const> image, Recipe const& recipe, float* out) {
    bool const clip = recipe.intensity == Intensity::clip;
    float const low = recipe.low, range = recipe.high - recipe.low;
    if (clip && !(range > 0 && std::isfinite(range)))
        return fail(ErrorCode::out_of_range, "recipe.low, recipe.high", "low < high", "bounds without extent");
    for (int c = 0; c < image.channels; ++c)
        for (int y = 0; y < image.height; ++y)
            for (int x = 0; x < image.width; ++x) {
                float const value = image(y, x, c);
                if (!std::isfinite(value)) return not_finite_at(value, text() << "row " << y << ", column " << x << ", channel " << c);
                *out++ = clip ? (std::clamp(value, low, recipe.high) - low) / range : value;
            }
    return {};
}

/// (x / scale - mean) / std of one channel into the top left corner of [S, S], zeros elsewhere. `in` may be `out` where nothing is
/// padded.
template <class T>
void normalise(T const* in, int height, int width, int channels, float scale, float mean, float std, int image_size, float* out) {
    for (int y = 0; y < image_size; ++y, out += image_size) {
        int const filled = y < height ? width : 0;
        T const* const row = in + static_cast<std::ptrdiff_t>(y) * width * channels;
        for (int x = 0; x < filled; ++x) out[x] = (static_cast<float>(row[static_cast<std::ptrdiff_t>(x) * channels]) / scale - mean) / std;
        std::fill(out + filled, out + image_size, 0.0f);
    }
}

/// scratch.values [channels, H, W] to out [3, S, S] through SciPy's zoom.
inline Result<void> resize_spline(int height, int width, int channels, Recipe const& recipe, int via, int image_size, float* out,
                                  PreprocessScratch& scratch) {
    std::size_t const first = spline_zoom_scratch(height, width, via > 0 ? via : image_size);
    std::size_t const second = via > 0 ? spline_zoom_scratch(via, via, image_size) : 0;
    SAMED_CHECK(grow(scratch.coefficients, std::max(first, second)));
    SAMED_CHECK(grow(scratch.between, static_cast<std::size_t>(via) * static_cast<std::size_t>(via)));
    std::span<double> const coefficients(scratch.coefficients.data(), scratch.coefficients.size());
    std::ptrdiff_t const plane = static_cast<std::ptrdiff_t>(image_size) * image_size;
    auto const source = planar<float const>(scratch.values.data(), height, width, channels);
    for (int c = 0; c < channels; ++c) {
        float* const to = out + c * plane;
        if (via > 0) {
            spline_zoom(source, c, via, via, scratch.between.data(), coefficients);
            spline_zoom(planar<float const>(scratch.between.data(), via, via), 0, image_size, image_size, to, coefficients);
        } else {
            spline_zoom(source, c, image_size, image_size, to, coefficients);
        }
    }
    for (int c = 2; c >= 0; --c)  // the source plane 0 of a grey image last
        normalise(out + (channels == 3 ? c * plane : 0), image_size, image_size, 1, 1.0f, recipe.mean[c], recipe.std[c], image_size,
                  out + c * plane);
    return {};
}

/// scratch.values [channels, H, W] to out [3, S, S] through Pillow's 8-bit bilinear.
inline Result<void> resize_longest_side(Placement const& placement, int channels, Recipe const& recipe, int image_size, float* out,
                                        PreprocessScratch& scratch) {
    int const height = placement.input_height, width = placement.input_width;
    int const resized_height = placement.resized_height, resized_width = placement.resized_width;
    std::size_t const count = static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
    std::size_t const resized = static_cast<std::size_t>(resized_height) * static_cast<std::size_t>(resized_width);
    auto const depth = static_cast<std::size_t>(channels);
    SAMED_CHECK(grow(scratch.bytes, (count + resized) * depth));
    SAMED_CHECK(grow(scratch.weights, pillow_resize_scratch(height, width, channels, resized_height, resized_width)));
    std::uint8_t* const bytes = scratch.bytes.data();   // [H, W, channels]
    std::uint8_t* const small = bytes + count * depth;  // [resized_height, resized_width, channels]

    float const scale = recipe.intensity == Intensity::none ? 1.0f : 255.0f;
    for (std::size_t c = 0; c < depth; ++c)
        for (std::size_t i = 0; i < count; ++i) {
            double const value = static_cast<double>(scratch.values[c * count + i]) * static_cast<double>(scale);
            if (!(value >= 0 && value <= 255))
                return fail(ErrorCode::out_of_range, "image", "values in 0..255",
                            text() << "row " << i / static_cast<std::size_t>(width) << ", column " << i % static_cast<std::size_t>(width)
                                   << ", channel " << c << ": " << (value < 0 ? "below 0" : "above 255"))
                    .advise("scale the image, or use a recipe with a window");
            bytes[i * depth + c] = static_cast<std::uint8_t>(value + 0.5);
        }
    pillow_resize(bytes, height, width, channels, resized_height, resized_width, small,
                  std::span<std::int32_t>(scratch.weights.data(), scratch.weights.size()));
    for (int c = 0; c < 3; ++c)
        normalise(small + (channels == 3 ? c : 0), resized_height, resized_width, channels, scale, recipe.mean[c], recipe.std[c],
                  image_size, out + static_cast<std::ptrdiff_t>(c) * image_size * image_size);
    return {};
}

}  // namespace detail

/// Turns the `percentile` bounds of a recipe into the `clip` bounds they mean for these values; other recipes come back as they
/// are. Percentiles interpolate linearly in double, as numpy.percentile on float64. Values that are all equal map to 0.
/// @cost  O(n), one copy of the values
/// @errors not_finite, out_of_range (bounds), invalid_argument (no values), out_of_memory
inline Result<Recipe> resolve_intensity(Recipe const& recipe, std::span<float const> values) {
    if (recipe.intensity != Intensity::percentile) return recipe;
    if (!(0 <= recipe.low && recipe.low < recipe.high && recipe.high <= 100))
        return fail(ErrorCode::out_of_range, "recipe.low, recipe.high", "percentiles 0 <= low < high <= 100", "others");
    if (values.empty()) return fail(ErrorCode::invalid_argument, "values", "at least one", "none");
    for (std::size_t i = 0; i < values.size(); ++i)
        if (!std::isfinite(values[i])) return detail::not_finite_at(values[i], text() << "value " << i);

    SAMED_TRY(auto sorted, Buffer<float>::allocate(values.size()));
    std::copy(values.begin(), values.end(), sorted.begin());
    auto const percentile = [&](double q) {
        double const position = rounded(q / 100 * static_cast<double>(values.size() - 1));
        auto const below = static_cast<std::size_t>(position);
        auto* const at = sorted.begin() + below;
        std::nth_element(sorted.begin(), at, sorted.end());
        if (below + 1 == values.size()) return *at;
        double const a = *at, b = *std::min_element(at + 1, sorted.end()), t = position - static_cast<double>(below);
        return static_cast<float>(t < 0.5 ? a + rounded((b - a) * t) : b - rounded((b - a) * (1 - t)));
    };
    Recipe resolved = recipe;
    resolved.intensity = Intensity::clip;
    resolved.low = percentile(static_cast<double>(recipe.low));
    resolved.high = percentile(static_cast<double>(recipe.high));
    if (resolved.high <= resolved.low) resolved.high = std::nextafter(resolved.low, std::numeric_limits<float>::infinity());
    return resolved;
}

/// As above, over all channels of one image.
inline Result<Recipe> resolve_intensity(Recipe const& recipe, ImageView<float const> image) {
    if (recipe.intensity != Intensity::percentile) return recipe;
    if (image.data == nullptr || image.height <= 0 || image.width <= 0 || image.channels <= 0)
        return fail(ErrorCode::invalid_argument, "image", "at least one pixel", "none");
    std::size_t const count = static_cast<std::size_t>(image.height) * static_cast<std::size_t>(image.width);
    SAMED_TRY(auto values, Buffer<float>::allocate(count * static_cast<std::size_t>(image.channels)));
    float* to = values.data();
    for (int c = 0; c < image.channels; ++c)
        for (int y = 0; y < image.height; ++y)
            for (int x = 0; x < image.width; ++x) *to++ = image(y, x, c);
    return resolve_intensity(recipe, std::span<float const>(values.data(), values.size()));
}

/// Bytes that `preprocess` holds in its scratch for an image of this size.
inline std::size_t preprocess_bytes(int height, int width, int channels, Recipe const& recipe, int image_size, bool slice_of_volume) {
    std::size_t const values = static_cast<std::size_t>(height) * static_cast<std::size_t>(width) * static_cast<std::size_t>(channels);
    std::size_t bytes = values * sizeof(float);
    if (recipe.resize == Resize::longest_side) {
        int const h = longest_side(height, height, width, image_size), w = longest_side(width, height, width, image_size);
        bytes += values + static_cast<std::size_t>(h) * static_cast<std::size_t>(w) * static_cast<std::size_t>(channels);
        if (h > 0 && w > 0) bytes += pillow_resize_scratch(height, width, channels, h, w) * sizeof(std::int32_t);
        return bytes;
    }
    int const via = slice_of_volume ? recipe.resize_via : 0;
    std::size_t const first = spline_zoom_scratch(height, width, via > 0 ? via : image_size);
    std::size_t const second = via > 0 ? spline_zoom_scratch(via, via, image_size) : 0;
    return bytes + std::max(first, second) * sizeof(double) + static_cast<std::size_t>(via) * static_cast<std::size_t>(via) * sizeof(float);
}

/// The network's input from the caller's pixels: intensity, resize, (x - mean) / std, channels.
///
/// `longest_side` resizes in 8 bits, as SAM does: with `Intensity::none` the values must lie in 0..255 and are rounded to whole
/// numbers, halves upwards; after `clip` they are in [0, 1], are multiplied by 255 for the resize and divided by 255 after it, before mean and std.
///
/// @param recipe           percentiles resolved by `resolve_intensity`
/// @param slice_of_volume  slices take the way through `recipe.resize_via`, single images go straight
/// @param out              [3, image_size, image_size]
/// @errors invalid_argument, too_large, shape_mismatch (channels), not_finite (names the pixel), out_of_range, out_of_memory
inline Result<Placement> preprocess(ImageView<float const> image, Recipe const& recipe, int image_size, bool slice_of_volume, float* out,
                                    PreprocessScratch& scratch) {
    SAMED_CHECK(detail::check_image(image, recipe));
    if (recipe.intensity == Intensity::percentile)
        return fail(ErrorCode::invalid_argument, "recipe.intensity", "clip or none", "percentile").advise("call resolve_intensity first");
    if (image_size <= 0 || image_size > max_image_side || recipe.resize_via < 0 || recipe.resize_via > max_image_side)
        return fail(ErrorCode::out_of_range, "image_size", text() << "1.." << max_image_side, text() << image_size);

    for (int c = 0; c < 3; ++c)
        if (!std::isfinite(recipe.mean[c]) || !(recipe.std[c] > 0) || !std::isfinite(recipe.std[c]))
            return fail(ErrorCode::out_of_range, "recipe.mean, recipe.std", "finite, std above 0", text() << "others in channel " << c);

    Placement placement{image.height, image.width, image_size, image_size};
    if (recipe.resize == Resize::longest_side) {
        placement.resized_height = longest_side(image.height, image.height, image.width, image_size);
        placement.resized_width = longest_side(image.width, image.height, image.width, image_size);
        if (placement.resized_height == 0 || placement.resized_width == 0)
            return fail(ErrorCode::out_of_range, "image", text() << "at least one pixel a side at longest side " << image_size,
                        text() << "[" << image.height << ", " << image.width << "]");
    }
    SAMED_CHECK(detail::grow(scratch.values, static_cast<std::size_t>(image.height) * static_cast<std::size_t>(image.width) *
                                                 static_cast<std::size_t>(image.channels)));
    SAMED_CHECK(detail::apply_intensity(image, recipe, scratch.values.data()));
    if (recipe.resize == Resize::longest_side) {
        SAMED_CHECK(detail::resize_longest_side(placement, image.channels, recipe, image_size, out, scratch));
    } else {
        SAMED_CHECK(detail::resize_spline(image.height, image.width, image.channels, recipe, slice_of_volume ? recipe.resize_via : 0,
                                          image_size, out, scratch));
    }
    return placement;
}

}  // namespace samed
