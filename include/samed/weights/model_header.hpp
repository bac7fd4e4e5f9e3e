// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <samed/config/image_config.hpp>
#include <samed/config/model_config.hpp>
#include <samed/config/recipes.hpp>
#include <samed/core/version.hpp>
#include <samed/io/safetensors.hpp>

namespace samed {

struct ClassInfo {
    std::string name;
    std::array<std::uint8_t, 3> colour{};
};

/// What a model file says of itself: the flat strings of its `__metadata__`, typed.
struct ModelHeader {
    bool adapter = false;        ///< LoRA + prompt encoder + mask decoder, to be used on its base
    bool merged = false;         ///< LoRA is already inside q and v: such a file is no base for an adapter
    std::string variant = "sam"; ///< V::name of its system
    ModelConfig config{};
    Recipe recipe{};
    std::vector<ClassInfo> classes;  ///< without the background
    std::string fingerprint;         ///< SHA-256 of the base checkpoint; an adapter's must equal its base's
    std::string source, licence;
    std::uint64_t selftest_seed = 0; ///< 0: no self-test stored
};

namespace detail {

inline std::string list_of(std::uint64_t bits) {
    std::string s;
    for (int i = 0; i < 64; ++i) {
        if (!(bits >> i & 1)) continue;
        if (!s.empty()) s += ',';
        s += std::to_string(i);
    }
    return s;
}
/// Shortest text that reads back to the same float, in the C locale whatever the application's is.
inline std::string shortest(float x) {
    char digits[32];
    auto const end = std::to_chars(digits, digits + sizeof digits, x);
    return std::string(digits, end.ptr);
}
inline std::string hex_colour(std::array<std::uint8_t, 3> const& c) {
    char digits[8];
    std::snprintf(digits, sizeof digits, "#%02x%02x%02x", c[0], c[1], c[2]);
    return digits;
}

/// Reads typed fields out of flat strings; the first failure is kept and ends the reading.
class MetadataReader {
public:
    explicit MetadataReader(Metadata const& metadata) : metadata_(metadata) {}

    std::string const* find(std::string_view key) const {
        auto const at = metadata_.find(key);
        return at == metadata_.end() ? nullptr : &at->second;
    }
    Result<std::string> string(std::string_view key) const {
        if (auto const* s = find(key)) return *s;
        return fail(ErrorCode::bad_format, key, "a value", "none").advise("this is not a samed model file; make one with `samed convert`");
    }
    Result<int> integer(std::string_view key, int low, int high) const {
        SAMED_TRY(std::string const s, string(key));
        int value = 0;
        auto const end = s.data() + s.size();
        auto const parsed = std::from_chars(s.data(), end, value);
        if (parsed.ec != std::errc() || parsed.ptr != end || value < low || value > high)
            return fail(ErrorCode::out_of_range, key, text() << "an integer in " << low << ".." << high, s);
        return value;
    }
    Result<void> floats(std::string_view key, float* out, int count) const {
        SAMED_TRY(std::string const s, string(key));
        char const* at = s.data();
        char const* const end = at + s.size();
        for (int i = 0; i < count; ++i) {
            auto const parsed = std::from_chars(at, end, out[i]);
            bool const last = i + 1 == count;
            if (parsed.ec != std::errc() || !(out[i] - out[i] == 0) || (last ? parsed.ptr != end : parsed.ptr == end || *parsed.ptr != ','))
                return fail(ErrorCode::out_of_range, key, text() << count << " finite numbers, separated by commas", s);
            at = parsed.ptr + 1;
        }
        return {};
    }
    /// Index of the value among `names`.
    template <std::size_t N>
    Result<int> choice(std::string_view key, char const* const (&names)[N]) const {
        SAMED_TRY(std::string const s, string(key));
        FixedText<160> allowed;
        int i = 0;
        for (char const* n : names) {
            if (s == n) return i;
            allowed << (i++ ? " or " : "") << n;
        }
        return fail(ErrorCode::unknown_name, key, allowed, s);
    }

private:
    Metadata const& metadata_;
};

}  // namespace detail

/// Caps that keep a hostile header from asking for absurd memory; far above every published model.
struct ConfigLimits {
    static constexpr int image_size = 8192, width = 8192, heads = 256, window = 512, mlp_width = 65536, rank = 1024;
};

/// Relations that every config must satisfy, wherever it came from.
/// @errors out_of_range
inline Result<void> check_config(ModelConfig const& c) {
    auto const bad = [](char const* field, FixedText<160> expected, int found) {
        return fail(ErrorCode::out_of_range, field, expected, text() << found);
    };
    VitConfig const& e = c.encoder;
    if (e.patch_size < 1 || e.patch_size > 64) return bad("patch_size", "1..64", e.patch_size);
    if (e.image_size < e.patch_size || e.image_size > ConfigLimits::image_size || e.image_size % e.patch_size != 0)
        return bad("image_size", text() << "a multiple of " << e.patch_size << " up to " << ConfigLimits::image_size, e.image_size);
    if (e.heads < 1 || e.heads > ConfigLimits::heads) return bad("heads", "1..256", e.heads);
    if (e.width < 1 || e.width > ConfigLimits::width || e.width % e.heads != 0)
        return bad("width", text() << "a multiple of " << e.heads << " heads up to " << ConfigLimits::width, e.width);
    if (e.depth < 1 || e.depth > VitConfig::max_depth) return bad("depth", "1..64", e.depth);
    if (e.mlp_width < 1 || e.mlp_width > ConfigLimits::mlp_width) return bad("mlp_width", "1..65536", e.mlp_width);
    if (e.window_size < 1 || e.window_size > ConfigLimits::window) return bad("window_size", "1..512", e.window_size);
    if (e.neck_width < 8 || e.neck_width > ConfigLimits::width || e.neck_width % 8 != 0) return bad("neck_width", "a multiple of 8", e.neck_width);
    if (c.prompt.mask_channels < 4 || c.prompt.mask_channels > 1024 || c.prompt.mask_channels % 4 != 0)
        return bad("mask_channels", "a multiple of 4 up to 1024", c.prompt.mask_channels);
    DecoderConfig const& d = c.decoder;
    if (d.depth < 1 || d.depth > DecoderConfig::max_depth) return bad("decoder_depth", "1..8", d.depth);
    if (d.heads < 1 || (e.neck_width / 2) % d.heads != 0) return bad("decoder_heads", text() << "a divisor of " << e.neck_width / 2, d.heads);
    if (d.mlp_width < 1 || d.mlp_width > ConfigLimits::mlp_width) return bad("decoder_mlp_width", "1..65536", d.mlp_width);
    if (d.mask_tokens < 1 || d.mask_tokens > DecoderConfig::max_mask_tokens)
        return bad("mask_tokens", "1..256 (labels are 8-bit: at most 255 classes and the background)", d.mask_tokens);
    if (c.rank < 0 || c.rank > ConfigLimits::rank) return bad("rank", "0..1024", c.rank);
    return {};
}

/// Whether the text names three axes of the patient, or none.
constexpr bool is_axes(std::string_view axes) {
    int seen = 0;
    for (char side : axes) seen |= side == 'L' || side == 'R' ? 1 : side == 'A' || side == 'P' ? 2 : side == 'I' || side == 'S' ? 4 : 8;
    return axes.empty() || (axes.size() == 3 && seen == 7);
}

/// @errors out_of_range, for bounds that make no range or a zero divisor, and axes that are none
inline Result<void> check_recipe(Recipe const& r) {
    bool const bounds = r.intensity == Intensity::clip || r.intensity == Intensity::percentile;
    if (bounds && !(r.low < r.high))
        return fail(ErrorCode::out_of_range, "recipe", "low below high", text() << "low " << detail::shortest(r.low) << ", high " << detail::shortest(r.high));
    if (r.intensity == Intensity::percentile && (r.low < 0 || r.high > 100)) return fail(ErrorCode::out_of_range, "recipe", "percentiles in 0..100");
    if (r.intensity == Intensity::min_max && (r.resize == Resize::spline || r.resize == Resize::longest_side))
        return fail(ErrorCode::out_of_range, "recipe", "longest_side_area, stretch or stretch_cubic with min_max", "another resize");
    if (r.masks != MaskUpscale::logits && (r.resize == Resize::spline || keeps_aspect(r.resize)))
        return fail(ErrorCode::out_of_range, "recipe", "stretch or stretch_cubic with these masks", "another resize");
    for (float s : r.std)
        if (s == 0) return fail(ErrorCode::out_of_range, "recipe.std", "values other than zero", "0");
    if (r.resize_via < 0 || r.resize_via == 1 || r.resize_via > ConfigLimits::image_size)
        return fail(ErrorCode::out_of_range, "recipe.resize_via", "0 or 2..8192", text() << r.resize_via);
    if (!is_axes(r.axes.view())) return fail(ErrorCode::out_of_range, "recipe.axes", "one of L R, one of A P, one of I S, as in RAS", r.axes.view());
    return {};
}

/// The flat strings of a header; `parse_header` reads them back.
inline Metadata to_metadata(ModelHeader const& h) {
    Metadata m;
    auto const put = [&](std::string key, std::string value) { m["samed." + std::move(key)] = std::move(value); };
    auto const number = [&](std::string key, int value) { put("config." + std::move(key), std::to_string(value)); };
    put("format", std::to_string(model_file_format));
    put("kind", h.adapter ? "adapter" : "model");
    if (h.merged) put("merged", "true");
    put("variant", h.variant);
    put("version", version);
    VitConfig const& e = h.config.encoder;
    number("image_size", e.image_size);
    number("patch_size", e.patch_size);
    number("width", e.width);
    number("depth", e.depth);
    number("heads", e.heads);
    number("mlp_width", e.mlp_width);
    number("window_size", e.window_size);
    put("config.global_blocks", detail::list_of(e.global_blocks));
    number("neck_width", e.neck_width);
    number("mask_channels", h.config.prompt.mask_channels);
    number("decoder_depth", h.config.decoder.depth);
    number("decoder_heads", h.config.decoder.heads);
    number("decoder_mlp_width", h.config.decoder.mlp_width);
    number("mask_tokens", h.config.decoder.mask_tokens);
    number("classes", static_cast<int>(h.classes.size()));
    number("rank", h.config.rank);
    Recipe const& r = h.recipe;
    put("recipe.name", std::string(r.name.view()));
    put("recipe.intensity", intensity_names[static_cast<int>(r.intensity)]);
    if (r.intensity == Intensity::clip || r.intensity == Intensity::percentile) {
        std::string const prefix = r.intensity == Intensity::clip ? "recipe.clip_" : "recipe.percentile_";
        put(prefix + "low", detail::shortest(r.low));
        put(prefix + "high", detail::shortest(r.high));
    }
    auto const three = [](float const* v) { return detail::shortest(v[0]) + "," + detail::shortest(v[1]) + "," + detail::shortest(v[2]); };
    put("recipe.mean", three(r.mean));
    put("recipe.std", three(r.std));
    put("recipe.resize", resize_names[static_cast<int>(r.resize)]);
    if (r.resize_via) put("recipe.resize_via", std::to_string(r.resize_via));
    put("recipe.channels", channels_names[static_cast<int>(r.channels)]);
    if (r.masks != MaskUpscale::logits) put("recipe.masks", mask_upscale_names[static_cast<int>(r.masks)]);
    if (r.whole_pixel_prompts) put("recipe.prompts", prompt_pixels_names[1]);
    if (!r.axes.empty()) put("recipe.axes", std::string(r.axes.view()));
    for (std::size_t i = 0; i < h.classes.size(); ++i) {
        std::string const prefix = "class." + std::to_string(i + 1) + ".";
        put(prefix + "name", h.classes[i].name);
        put(prefix + "colour", detail::hex_colour(h.classes[i].colour));
    }
    put("fingerprint", h.fingerprint);
    if (!h.source.empty()) put("source", h.source);
    if (!h.licence.empty()) put("licence", h.licence);
    if (h.selftest_seed) put("selftest.seed", std::to_string(h.selftest_seed));
    return m;
}

namespace detail {

inline Result<ModelConfig> parse_config(MetadataReader const& in) {
    ModelConfig c;
    constexpr int large = 1 << 20;
    struct Row {
        char const* key;
        int* value;
    };
    Row const rows[] = {
        {"samed.config.image_size", &c.encoder.image_size},   {"samed.config.patch_size", &c.encoder.patch_size},
        {"samed.config.width", &c.encoder.width},             {"samed.config.depth", &c.encoder.depth},
        {"samed.config.heads", &c.encoder.heads},             {"samed.config.mlp_width", &c.encoder.mlp_width},
        {"samed.config.window_size", &c.encoder.window_size}, {"samed.config.neck_width", &c.encoder.neck_width},
        {"samed.config.mask_channels", &c.prompt.mask_channels}, {"samed.config.decoder_depth", &c.decoder.depth},
        {"samed.config.decoder_heads", &c.decoder.heads},     {"samed.config.decoder_mlp_width", &c.decoder.mlp_width},
        {"samed.config.mask_tokens", &c.decoder.mask_tokens}, {"samed.config.rank", &c.rank},
    };
    for (Row const& r : rows) {
        SAMED_TRY(*r.value, in.integer(r.key, 0, large));
    }
    SAMED_TRY(std::string const blocks, in.string("samed.config.global_blocks"));
    char const* at = blocks.data();
    char const* const end = at + blocks.size();
    int previous = -1;
    while (at != end) {
        int block = 0;
        auto const parsed = std::from_chars(at, end, block);
        if (parsed.ec != std::errc() || block <= previous || block >= c.encoder.depth || block >= VitConfig::max_depth ||
            (parsed.ptr != end && (*parsed.ptr != ',' || parsed.ptr + 1 == end)))
            return fail(ErrorCode::out_of_range, "samed.config.global_blocks", text() << "ascending block numbers below " << c.encoder.depth, blocks);
        c.encoder.global_blocks |= std::uint64_t{1} << block;
        previous = block;
        at = parsed.ptr == end ? end : parsed.ptr + 1;
    }
    c.encoder.global_blocks_known = true;
    SAMED_CHECK(check_config(c));
    return c;
}

inline Result<Recipe> parse_recipe(MetadataReader const& in) {
    Recipe r;
    SAMED_TRY(std::string const recipe_name, in.string("samed.recipe.name"));
    r.name = FixedText<48>(recipe_name);
    SAMED_TRY(int const intensity, in.choice("samed.recipe.intensity", intensity_names));
    r.intensity = static_cast<Intensity>(intensity);
    if (r.intensity == Intensity::clip || r.intensity == Intensity::percentile) {
        std::string const prefix = r.intensity == Intensity::clip ? "samed.recipe.clip_" : "samed.recipe.percentile_";
        SAMED_CHECK(in.floats(prefix + "low", &r.low, 1));
        SAMED_CHECK(in.floats(prefix + "high", &r.high, 1));
    }
    SAMED_CHECK(in.floats("samed.recipe.mean", r.mean, 3));
    SAMED_CHECK(in.floats("samed.recipe.std", r.std, 3));
    SAMED_TRY(int const resize, in.choice("samed.recipe.resize", resize_names));
    r.resize = static_cast<Resize>(resize);
    if (in.find("samed.recipe.resize_via")) {
        SAMED_TRY(r.resize_via, in.integer("samed.recipe.resize_via", 2, ConfigLimits::image_size));
    }
    SAMED_TRY(int const channels, in.choice("samed.recipe.channels", channels_names));
    r.channels = static_cast<Channels>(channels);
    if (auto const* axes = in.find("samed.recipe.axes")) r.axes = FixedText<4>(axes->size() <= 3 ? *axes : "?");
    else if (auto const named = named_recipe(recipe_name)) r.axes = named->axes;  // files from before this key
    if (in.find("samed.recipe.masks")) {
        SAMED_TRY(int const masks, in.choice("samed.recipe.masks", mask_upscale_names));
        r.masks = static_cast<MaskUpscale>(masks);
    }
    if (in.find("samed.recipe.prompts")) {
        SAMED_TRY(int const whole, in.choice("samed.recipe.prompts", prompt_pixels_names));
        r.whole_pixel_prompts = whole == 1;
    }
    SAMED_CHECK(check_recipe(r));
    return r;
}

/// "#rrggbb"
inline bool parse_colour(std::string_view s, std::array<std::uint8_t, 3>& out) {
    if (s.size() != 7 || s[0] != '#') return false;
    for (int i = 0; i < 3; ++i) {
        char const* digits = s.data() + 1 + 2 * i;
        auto const parsed = std::from_chars(digits, digits + 2, out[static_cast<std::size_t>(i)], 16);
        if (parsed.ec != std::errc() || parsed.ptr != digits + 2) return false;
    }
    return true;
}

}  // namespace detail

/// @errors bad_format, unsupported (a newer format), unknown_name, out_of_range; each names the key
inline Result<ModelHeader> parse_header(Metadata const& metadata) {
    detail::MetadataReader const in(metadata);
    ModelHeader h;
    SAMED_TRY(int const format, in.integer("samed.format", 1, 1 << 20));
    if (format != model_file_format)
        return fail(ErrorCode::unsupported, "samed.format", text() << model_file_format, text() << format).advise("a newer samed wrote this file");
    SAMED_TRY(int const kind, in.choice("samed.kind", {"model", "adapter"}));
    h.adapter = kind == 1;
    if (in.find("samed.merged")) {
        SAMED_TRY(int const merged, in.choice("samed.merged", {"false", "true"}));
        h.merged = merged == 1;
    }
    SAMED_TRY(h.variant, in.string("samed.variant"));
    SAMED_TRY(h.config, detail::parse_config(in));
    SAMED_TRY(h.recipe, detail::parse_recipe(in));
    SAMED_TRY(int const classes, in.integer("samed.config.classes", 0, 255));
    if (classes != 0 && classes + 1 != h.config.decoder.mask_tokens)
        return fail(ErrorCode::shape_mismatch, "samed.config.classes", text() << h.config.decoder.mask_tokens - 1 << ", one less than mask_tokens", text() << classes);
    for (int i = 1; i <= classes; ++i) {
        std::string const prefix = "samed.class." + std::to_string(i) + ".";
        ClassInfo info;
        SAMED_TRY(info.name, in.string(prefix + "name"));
        SAMED_TRY(std::string const colour, in.string(prefix + "colour"));
        if (!detail::parse_colour(colour, info.colour)) return fail(ErrorCode::bad_format, prefix + "colour", "#rrggbb", colour);
        h.classes.push_back(std::move(info));
    }
    SAMED_TRY(h.fingerprint, in.string("samed.fingerprint"));
    if (auto const* s = in.find("samed.source")) h.source = *s;
    if (auto const* s = in.find("samed.licence")) h.licence = *s;
    if (in.find("samed.selftest.seed")) {
        SAMED_TRY(int const seed, in.integer("samed.selftest.seed", 1, 1 << 30));
        h.selftest_seed = static_cast<std::uint64_t>(seed);
    }
    return h;
}

}  // namespace samed
