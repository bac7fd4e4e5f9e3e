// SPDX-License-Identifier: Apache-2.0
#include "recipe_option.hpp"

#include <cmath>

#include <samed/config/recipes.hpp>
#include <samed/io/file.hpp>
#include <samed/io/json.hpp>
#include <samed/weights/model_header.hpp>

#include "tool.hpp"

namespace samed::tool {

namespace {

using Kind = JsonValue::Kind;

Result<float> number(JsonValue const& v) {
    float const x = v.is(Kind::number) || v.is(Kind::integer) ? static_cast<float>(v.as_double()) : NAN;
    if (!std::isfinite(x)) return fail(ErrorCode::bad_format, v.key, "a finite number").at(v.offset);
    return x;
}

Result<void> three_numbers(JsonValue const& v, float* out) {
    if (!v.is(Kind::array)) {
        SAMED_TRY(out[0], number(v));
        out[1] = out[2] = out[0];
        return {};
    }
    if (v.items.size() != 3) return fail(ErrorCode::bad_format, v.key, "one number or three", text() << v.items.size()).at(v.offset);
    for (std::size_t i = 0; i < 3; ++i) {
        auto const item = number(v.items[i]);
        if (!item) return fail(ErrorCode::bad_format, v.key, "finite numbers").at(v.items[i].offset);
        out[i] = *item;
    }
    return {};
}

template <std::size_t N>
Result<int> choice(JsonValue const& v, char const* const (&names)[N]) {
    FixedText<160> allowed;
    int i = 0;
    for (char const* n : names) {
        if (v.is(Kind::string) && v.text == n) return i;
        allowed << (i++ ? " or " : "") << n;
    }
    return fail(ErrorCode::unknown_name, v.key, allowed, v.is(Kind::string) ? v.text : "no string").at(v.offset);
}

Result<void> read_member(JsonValue const& v, Recipe& r) {
    if (v.key == "name") {
        if (!v.is(Kind::string) || v.text.empty() || v.text.size() > 40)
            return fail(ErrorCode::bad_format, v.key, "a text of 1 to 40 bytes").at(v.offset);
        r.name = v.text;
    } else if (v.key == "intensity") {
        SAMED_TRY(int const i, choice(v, intensity_names));
        r.intensity = static_cast<Intensity>(i);
    } else if (v.key == "low") {
        SAMED_TRY(r.low, number(v));
    } else if (v.key == "high") {
        SAMED_TRY(r.high, number(v));
    } else if (v.key == "mean") {
        return three_numbers(v, r.mean);
    } else if (v.key == "std") {
        return three_numbers(v, r.std);
    } else if (v.key == "resize") {
        SAMED_TRY(int const i, choice(v, resize_names));
        r.resize = static_cast<Resize>(i);
    } else if (v.key == "resize_via") {
        if (!v.is(Kind::integer) || v.integer < 0 || v.integer > ConfigLimits::image_size)
            return fail(ErrorCode::out_of_range, v.key, text() << "an integer of 0 to " << ConfigLimits::image_size).at(v.offset);
        r.resize_via = static_cast<int>(v.integer);
    } else if (v.key == "axes") {
        if (!v.is(Kind::string) || !is_axes(v.text)) return fail(ErrorCode::out_of_range, v.key, "three sides, as in RAS").at(v.offset);
        r.axes = v.text;
    } else if (v.key == "channels") {
        SAMED_TRY(int const i, choice(v, channels_names));
        r.channels = static_cast<Channels>(i);
    } else if (v.key == "masks") {
        SAMED_TRY(int const i, choice(v, mask_upscale_names));
        r.masks = static_cast<MaskUpscale>(i);
    } else if (v.key == "prompts") {
        SAMED_TRY(int const i, choice(v, prompt_pixels_names));
        r.whole_pixel_prompts = i == 1;
    } else {
        return fail(ErrorCode::unknown_name, v.key,
                    "name, intensity, low, high, mean, std, resize, resize_via, channels, masks, prompts or axes")
            .at(v.offset);
    }
    return {};
}

Result<Recipe> parse_recipe(std::string_view source) {
    SAMED_TRY(JsonValue const root, parse_json(source, "recipe", {3, 256, false}));
    if (!root.is(Kind::object)) return fail(ErrorCode::bad_format, "recipe", "an object").at(root.offset);
    Recipe r;
    r.name = "custom";
    for (JsonValue const& member : root.items) SAMED_CHECK(read_member(member, r));
    SAMED_CHECK(check_recipe(r));
    return r;
}

}  // namespace

Result<Recipe> read_recipe(std::string const& name_or_file) {
    if (auto const named = named_recipe(name_or_file)) return *named;
    bool const is_path = has_extension(name_or_file, ".json") || name_or_file.find('/') != std::string::npos;
    if (!is_path) return fail(ErrorCode::unknown_name, "recipe", text() << recipe_names << ", or a .json file", name_or_file);
    SAMED_TRY(auto const bytes, read_all(name_or_file, std::uint64_t{1} << 16));
    auto const recipe = parse_recipe({reinterpret_cast<char const*>(bytes.data()), bytes.size()});
    return recipe ? recipe : recipe.error().in(name_or_file);
}

}  // namespace samed::tool
