// SPDX-License-Identifier: Apache-2.0
#include "convert_samed_s.hpp"

#include <charconv>
#include <cstdio>

namespace samed::tool {

namespace {

struct Attention {
    std::string_view prefix;
    char const* name;
};
constexpr Attention of_a_layer[] = {{"sa_", ".self_attn"}, {"cti_", ".cross_attn_token_to_image"}, {"cit_", ".cross_attn_image_to_token"}};
constexpr char transformer[] = "mask_decoder.transformer.";

std::string projection(std::string const& attention, char part, char matrix) {
    return transformer + attention + "." + part + "_proj.w_" + matrix + ".weight";
}

}  // namespace

std::vector<DecoderLora> decoder_lora(ModelConfig const& config) {
    std::vector<DecoderLora> out;
    std::int64_t const n = config.encoder.neck_width, rank = config.rank;
    auto const add = [&](std::string checkpoint, std::string const& attention, char part, char matrix, std::int64_t inner) {
        bool const a = matrix == 'a';
        out.push_back({std::move(checkpoint), projection(attention, part, matrix), a ? rank : inner, a ? n : rank});
    };
    for (Attention const& kind : of_a_layer)
        for (char matrix : {'a', 'b'})
            for (int i = 0; i < 2 * config.decoder.depth; ++i) {
                char number[16];
                std::snprintf(number, sizeof number, "_%03d", i);
                add(std::string(kind.prefix) + matrix + number, "layers." + std::to_string(i / 2) + kind.name, i % 2 == 0 ? 'q' : 'v',
                    matrix, kind.prefix == "sa_" ? n : n / 2);
            }
    for (char part : {'q', 'v'})
        for (char matrix : {'a', 'b'}) add(std::string("fati_") + part + matrix, "final_attn_token_to_image", part, matrix, n / 2);
    return out;
}

std::optional<std::string> decoder_lora_name(std::string_view name) {
    auto const is = [](char c, char one, char other) { return c == one || c == other; };
    if (name.substr(0, 5) == "fati_" && name.size() == 7 && is(name[5], 'q', 'v') && is(name[6], 'a', 'b'))
        return projection("final_attn_token_to_image", name[5], name[6]);
    for (Attention const& kind : of_a_layer) {
        if (name.substr(0, kind.prefix.size()) != kind.prefix) continue;
        std::string_view const rest = name.substr(kind.prefix.size());  // a_003
        int number = 0;
        if (rest.size() < 5 || !is(rest[0], 'a', 'b') || rest[1] != '_') return std::nullopt;
        auto const parsed = std::from_chars(rest.data() + 2, rest.data() + rest.size(), number);
        if (parsed.ec != std::errc() || parsed.ptr != rest.data() + rest.size() || number < 0) return std::nullopt;
        return projection("layers." + std::to_string(number / 2) + kind.name, number % 2 == 0 ? 'q' : 'v', rest[0]);
    }
    return std::nullopt;
}

}  // namespace samed::tool
