// SPDX-License-Identifier: Apache-2.0
// Model files of any size with random weights: memory and time do not depend on the values.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <samed/io/safetensors_writer.hpp>
#include <samed/weights/model_header.hpp>

namespace samed_test {

struct NamedShape {
    std::string name;
    std::vector<std::int64_t> shape;
};

class TensorList {
public:
    explicit TensorList(samed::ModelConfig const& config) : c_(config) {}

    TensorList& encoder() {
        samed::VitConfig const& e = c_.encoder;
        std::int64_t const c = e.width, n = e.neck_width, p = e.patch_size, g = e.grid();
        std::string const root = "image_encoder.";
        add(root + "pos_embed", {1, g, g, c});
        affine(root + "patch_embed.proj", {c, 3, p, p}, c);
        for (int i = 0; i < e.depth; ++i) {
            std::string const block = root + "blocks." + std::to_string(i) + ".";
            std::int64_t const side = e.is_global(i) ? g : e.window_size;
            affine(block + "norm1", {c}, c);
            affine(block + "norm2", {c}, c);
            affine(block + "attn.qkv", {3 * c, c}, 3 * c);
            affine(block + "attn.proj", {c, c}, c);
            add(block + "attn.rel_pos_h", {2 * side - 1, e.head_dim()});
            add(block + "attn.rel_pos_w", {2 * side - 1, e.head_dim()});
            affine(block + "mlp.lin1", {e.mlp_width, c}, e.mlp_width);
            affine(block + "mlp.lin2", {c, e.mlp_width}, c);
        }
        add(root + "neck.0.weight", {n, c, 1, 1});
        affine(root + "neck.1", {n}, n);
        add(root + "neck.2.weight", {n, n, 3, 3});
        affine(root + "neck.3", {n}, n);
        return *this;
    }
    TensorList& lora() {
        for (int i = 0; i < c_.encoder.depth; ++i)
            for (char part : {'q', 'v'}) {
                std::string const qkv = "image_encoder.blocks." + std::to_string(i) + ".attn.qkv.linear_";
                add(qkv + "a_" + part + ".weight", {c_.rank, c_.encoder.width});
                add(qkv + "b_" + part + ".weight", {c_.encoder.width, c_.rank});
            }
        return *this;
    }
    TensorList& prompts_and_decoder() {
        std::int64_t const n = c_.encoder.neck_width, m = c_.prompt.mask_channels;
        std::string const prompt = "prompt_encoder.", mask = prompt + "mask_downscaling.", decoder = "mask_decoder.";
        add(prompt + "pe_layer.positional_encoding_gaussian_matrix", {2, n / 2});
        for (int i = 0; i < 4; ++i) add(prompt + "point_embeddings." + std::to_string(i) + ".weight", {1, n});
        add(prompt + "not_a_point_embed.weight", {1, n});
        add(prompt + "no_mask_embed.weight", {1, n});
        affine(mask + "0", {m / 4, 1, 2, 2}, m / 4);
        affine(mask + "1", {m / 4}, m / 4);
        affine(mask + "3", {m, m / 4, 2, 2}, m);
        affine(mask + "4", {m}, m);
        affine(mask + "6", {n, m, 1, 1}, n);
        auto const attention = [&](std::string const& name, std::int64_t inner) {
            for (char const* part : {".q_proj", ".k_proj", ".v_proj"}) affine(name + part, {inner, n}, inner);
            affine(name + ".out_proj", {n, inner}, n);
        };
        for (int i = 0; i < c_.decoder.depth; ++i) {
            std::string const layer = decoder + "transformer.layers." + std::to_string(i) + ".";
            attention(layer + "self_attn", n);
            attention(layer + "cross_attn_token_to_image", n / 2);
            attention(layer + "cross_attn_image_to_token", n / 2);
            for (int j = 1; j <= 4; ++j) affine(layer + "norm" + std::to_string(j), {n}, n);
            affine(layer + "mlp.lin1", {c_.decoder.mlp_width, n}, c_.decoder.mlp_width);
            affine(layer + "mlp.lin2", {n, c_.decoder.mlp_width}, n);
        }
        attention(decoder + "transformer.final_attn_token_to_image", n / 2);
        affine(decoder + "transformer.norm_final_attn", {n}, n);
        add(decoder + "iou_token.weight", {1, n});
        add(decoder + "mask_tokens.weight", {c_.decoder.mask_tokens, n});
        affine(decoder + "output_upscaling.0", {n, n / 4, 2, 2}, n / 4);
        affine(decoder + "output_upscaling.1", {n / 4}, n / 4);
        affine(decoder + "output_upscaling.3", {n / 4, n / 8, 2, 2}, n / 8);
        auto const mlp3 = [&](std::string const& name, std::int64_t out) {
            affine(name + ".layers.0", {n, n}, n);
            affine(name + ".layers.1", {n, n}, n);
            affine(name + ".layers.2", {out, n}, out);
        };
        for (int i = 0; i < c_.decoder.mask_tokens; ++i) mlp3(decoder + "output_hypernetworks_mlps." + std::to_string(i), n / 8);
        mlp3(decoder + "iou_prediction_head", c_.decoder.mask_tokens);
        return *this;
    }

    std::vector<NamedShape> const& all() const { return all_; }

private:
    void add(std::string name, std::vector<std::int64_t> shape) { all_.push_back({std::move(name), std::move(shape)}); }
    void affine(std::string const& name, std::vector<std::int64_t> weight, std::int64_t out) {
        add(name + ".weight", std::move(weight));
        add(name + ".bias", {out});
    }

    samed::ModelConfig c_;
    std::vector<NamedShape> all_;
};

/// Values in [-0.05, 0.05], those of the Gaussian matrix the same in every file of one `gaussian_seed`.
inline samed::Result<void> write_random(std::string const& path, samed::ModelHeader const& header, TensorList const& list,
                                        std::uint64_t seed, std::uint64_t gaussian_seed = 0) {
    std::vector<samed::SafetensorsEntry> entries;
    for (NamedShape const& t : list.all()) {
        samed::SafetensorsEntry e;
        e.name = t.name;
        e.shape = t.shape;
        std::uint64_t const salt =
            t.name.find("gaussian") == std::string::npos ? seed * 0x9E3779B97F4A7C15u + entries.size() : gaussian_seed;
        e.produce = [salt](std::int64_t first, std::int64_t count, float* values) -> samed::Result<void> {
            for (std::int64_t i = 0; i < count; ++i) {
                std::uint64_t x = (salt + static_cast<std::uint64_t>(first + i)) * 0xBF58476D1CE4E5B9u;
                x = (x ^ (x >> 31)) * 0x94D049BB133111EBu;
                values[i] = static_cast<float>(static_cast<double>(x >> 40) / (1 << 24) - 0.5) * 0.1f;
            }
            return {};
        };
        entries.push_back(std::move(e));
    }
    return samed::write_safetensors(path, samed::to_metadata(header), entries);
}

/// Headers of a SAM base and of a SAMed adapter on it.
inline samed::ModelHeader base_header(samed::ModelConfig config) {
    samed::ModelHeader h;
    h.config = config;
    h.config.rank = 0;
    h.config.decoder.mask_tokens = 4;
    h.fingerprint = std::string(64, 'a');
    return h;
}
inline samed::ModelHeader adapter_header(samed::ModelConfig config, char const* variant = "samed") {
    samed::ModelHeader h;
    h.adapter = true;
    h.variant = variant;
    h.config = config;
    h.fingerprint = std::string(64, 'a');
    for (int i = 1; i < config.decoder.mask_tokens; ++i) h.classes.push_back({"class " + std::to_string(i), {}});
    return h;
}

}  // namespace samed_test
