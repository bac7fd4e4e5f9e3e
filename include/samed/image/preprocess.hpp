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
#include <samed/image/area_resize.hpp>
#include <samed/image/bilinear.hpp>
#include <samed/image/cubic_resize.hpp>
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
    bool whole_pixels = false;                  ///< see Recipe::whole_pixel_prompts

    /// Pixel coordinates of the caller's image to those of the network's input.
    float to_model_x(double x) const { return to_model(x, resized_width, input_width); }
    float to_model_y(double y) const { return to_model(y, resized_height, input_height); }

private:
    float to_model(double at, int resized, int input) const {
        if (!whole_pixels) return static_cast<float>(at * (static_cast<double>(resized) / input));
        return std::trunc(
            static_cast<float>(at * (static_cast<double>(std::max(resized_height, resized_width)) / std::max(input_height, input_width))));
    }
};

/// Memory of `preprocess`. Grows when a larger image arrives and keeps what it has: no allocation for sizes seen before.
struct PreprocessScratch {
    Buffer<float> values;          ///< [channels, H, W] after the intensity step
    Buffer<float> between;         ///< [via, via], one channel; or [resized_height, resized_width, channels]
    Buffer<std::uint8_t> bytes;    ///< [H, W, channels], then [resized_height, resized_width, channels]
    Buffer<double> coefficients;   ///< of spline_zoom, cubic_resize and area_resize
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

/// ((x - offset) / scale - mean) / std of one channel into the top left corner of [S, S], zeros elsewhere. `in` may be `out` where nothing is
/// padded.
template <class T>
void normalise(T const* in, int height, int width, int channels, float offset, float scale, float mean, float std, int image_size,
               float* out) {
    for (int y = 0; y < image_size; ++y, out += image_size) {
        int const filled = y < height ? width : 0;
        T const* const row = in + static_cast<std::ptrdiff_t>(y) * width * channels;
        for (int x = 0; x < filled; ++x)
            out[x] = ((static_cast<float>(row[static_cast<std::ptrdiff_t>(x) * channels]) - offset) / scale - mean) / std;
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
        normalise(out + (channels == 3 ? c * plane : 0), image_size, image_size, 1, 0.0f, 1.0f, recipe.mean[c], recipe.std[c], image_size,
                  out + c * plane);
    return {};
}

/// Intensities as bytes [H, W, channels].
/// @param scale  what makes them 0..255
inline Result<void> to_bytes(float const* values, Placement const& placement, std::size_t channels, float scale, std::uint8_t* bytes) {
    auto const width = static_cast<std::size_t>(placement.input_width);
    std::size_t const count = static_cast<std::size_t>(placement.input_height) * width;
    for (std::size_t c = 0; c < channels; ++c)
        for (std::size_t i = 0; i < count; ++i) {
            double const value = static_cast<double>(values[c * count + i]) * static_cast<double>(scale);
            if (!(value >= 0 && value <= 255))
                return fail(ErrorCode::out_of_range, "image", "values in 0..255",
                            text() << "row " << i / width << ", column " << i % width << ", channel " << c << ": "
                                   << (value < 0 ? "below 0" : "above 255"))
                    .advise("scale the image, or use a recipe with a window");
            bytes[i * channels + c] = static_cast<std::uint8_t>(value + 0.5);
        }
    return {};
}

/// PyTorch's bilinear of interleaved bytes, not rounded.
inline Result<void> stretch_bilinear(std::uint8_t const* bytes, Placement const& p, int channels, PreprocessScratch& scratch) {
    auto const at = [&](int y, int x, int c) {
        return static_cast<float>(bytes[(static_cast<std::ptrdiff_t>(y) * p.input_width + x) * channels + c]);
    };
    SAMED_CHECK(grow(scratch.between, static_cast<std::size_t>(p.resized_height) * static_cast<std::size_t>(p.resized_width) *
                                          static_cast<std::size_t>(channels)));
    float* out = scratch.between.data();
    for (int y = 0; y < p.resized_height; ++y) {
        BilinearTap const down = bilinear_tap(y, p.input_height, p.resized_height);
        int const below = std::min(down.first + 1, p.input_height - 1);
        for (int x = 0; x < p.resized_width; ++x) {
            BilinearTap const along = bilinear_tap(x, p.input_width, p.resized_width);
            int const right = std::min(along.first + 1, p.input_width - 1);
            for (int c = 0; c < channels; ++c)
                *out++ = blend(blend(at(down.first, along.first, c), at(down.first, right, c), along.weight),
                               blend(at(below, along.first, c), at(below, right, c), along.weight), down.weight);
        }
    }
    return {};
}

/// [resized_height, resized_width, channels] to out [3, S, S]: intensity's last step, mean and std, padding.
template <class T>
void normalise_all(T const* resized, Placement const& p, int channels, float scale, Recipe const& recipe, int image_size, float* out) {
    float offset = 0;
    if (recipe.intensity == Intensity::min_max) {
        auto const count = static_cast<std::ptrdiff_t>(p.resized_height) * p.resized_width * channels;
        auto const [low, high] = std::minmax_element(resized, resized + count);
        offset = static_cast<float>(*low);
        scale = std::max(static_cast<float>(*high) - offset, 1e-8f);
    }
    for (int c = 0; c < 3; ++c)
        normalise(resized + (channels == 3 ? c : 0), p.resized_height, p.resized_width, channels, offset, scale, recipe.mean[c],
                  recipe.std[c], image_size, out + static_cast<std::ptrdiff_t>(c) * image_size * image_size);
}

/// scratch.values [channels, H, W] to out [3, S, S] through one of the resizes of 8-bit images.
inline Result<void> resize_bytes(Placement const& placement, int channels, Recipe const& recipe, int image_size, float* out,
                                 PreprocessScratch& scratch) {
    int const height = placement.input_height, width = placement.input_width;
    int const resized_height = placement.resized_height, resized_width = placement.resized_width;
    std::size_t const count = static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
    std::size_t const resized = static_cast<std::size_t>(resized_height) * static_cast<std::size_t>(resized_width);
    auto const depth = static_cast<std::size_t>(channels);
    SAMED_CHECK(grow(scratch.bytes, (count + resized) * depth));
    std::uint8_t* const bytes = scratch.bytes.data();   // [H, W, channels]
    std::uint8_t* const small = bytes + count * depth;  // [resized_height, resized_width, channels]
    float const scale = recipe.intensity == Intensity::clip ? 255.0f : 1.0f;
    SAMED_CHECK(to_bytes(scratch.values.data(), placement, depth, scale, bytes));
    if (recipe.resize == Resize::stretch) {
        SAMED_CHECK(stretch_bilinear(bytes, placement, channels, scratch));
        normalise_all(scratch.between.data(), placement, channels, scale, recipe, image_size, out);
        return {};
    }
    if (recipe.resize == Resize::longest_side) {
        SAMED_CHECK(grow(scratch.weights, pillow_resize_scratch(height, width, channels, resized_height, resized_width)));
        pillow_resize(bytes, height, width, channels, resized_height, resized_width, small,
                      std::span<std::int32_t>(scratch.weights.data(), scratch.weights.size()));
    } else {
        bool const area = recipe.resize == Resize::longest_side_area;
        SAMED_CHECK(grow(scratch.coefficients, area ? static_cast<std::size_t>(width) * depth
                                                    : cubic_resize_scratch(height, width, resized_height, resized_width)));
        std::span<double> const memory(scratch.coefficients.data(), scratch.coefficients.size());
        (area ? area_resize : cubic_resize)(bytes, height, width, channels, resized_height, resized_width, small, memory);
    }
    normalise_all(small, placement, channels, scale, recipe, image_size, out);
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

/// Where `preprocess` puts an image of this size.
inline Placement placement_of(int height, int width, Recipe const& recipe, int image_size) {
    Placement placement{height, width, image_size, image_size, recipe.whole_pixel_prompts};
    if (keeps_aspect(recipe.resize)) {
        placement.resized_height = longest_side(height, height, width, image_size);
        placement.resized_width = longest_side(width, height, width, image_size);
    }
    return placement;
}

/// Bytes that `preprocess` holds in its scratch for an image of this size.
inline std::size_t preprocess_bytes(int height, int width, int channels, Recipe const& recipe, int image_size, bool slice_of_volume) {
    std::size_t const values = static_cast<std::size_t>(height) * static_cast<std::size_t>(width) * static_cast<std::size_t>(channels);
    std::size_t bytes = values * sizeof(float);
    if (recipe.resize != Resize::spline) {
        Placement const placement = placement_of(height, width, recipe, image_size);
        int const h = placement.resized_height, w = placement.resized_width;
        std::size_t const resized = static_cast<std::size_t>(h) * static_cast<std::size_t>(w) * static_cast<std::size_t>(channels);
        bytes += values + resized;
        if (h == 0 || w == 0) return bytes;
        switch (recipe.resize) {
            case Resize::stretch: return bytes + resized * sizeof(float);
            case Resize::longest_side_area:
                return bytes + static_cast<std::size_t>(width) * static_cast<std::size_t>(channels) * sizeof(double);
            case Resize::stretch_cubic: return bytes + cubic_resize_scratch(height, width, h, w) * sizeof(double);
            default: return bytes + pillow_resize_scratch(height, width, channels, h, w) * sizeof(std::int32_t);
        }
    }
    int const via = slice_of_volume ? recipe.resize_via : 0;
    std::size_t const first = spline_zoom_scratch(height, width, via > 0 ? via : image_size);
    std::size_t const second = via > 0 ? spline_zoom_scratch(via, via, image_size) : 0;
    return bytes + std::max(first, second) * sizeof(double) + static_cast<std::size_t>(via) * static_cast<std::size_t>(via) * sizeof(float);
}

/// The network's input from the caller's pixels: intensity, resize, (x - mean) / std, channels.
///
/// All resizes but `spline` take 8 bits, as their authors do: with `Intensity::none` the values must lie in 0..255 and are rounded to whole
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

    if (recipe.intensity == Intensity::min_max && (recipe.resize == Resize::spline || recipe.resize == Resize::longest_side))
        return fail(ErrorCode::out_of_range, "recipe.intensity", "another than min_max with this resize", "min_max");
    Placement const placement = placement_of(image.height, image.width, recipe, image_size);
    if (placement.resized_height == 0 || placement.resized_width == 0)
        return fail(ErrorCode::out_of_range, "image", text() << "at least one pixel a side at longest side " << image_size,
                    text() << "[" << image.height << ", " << image.width << "]");
    SAMED_CHECK(detail::grow(scratch.values, static_cast<std::size_t>(image.height) * static_cast<std::size_t>(image.width) *
                                                 static_cast<std::size_t>(image.channels)));
    SAMED_CHECK(detail::apply_intensity(image, recipe, scratch.values.data()));
    if (recipe.resize != Resize::spline) {
        SAMED_CHECK(detail::resize_bytes(placement, image.channels, recipe, image_size, out, scratch));
    } else {
        SAMED_CHECK(detail::resize_spline(image.height, image.width, image.channels, recipe, slice_of_volume ? recipe.resize_via : 0,
                                          image_size, out, scratch));
    }
    return placement;
}

}  // namespace samed
