// SPDX-License-Identifier: Apache-2.0
#include "checkpoint_names.hpp"

#include "convert_efficient_sam.hpp"
#include "convert_mobile_sam.hpp"
#include "convert_samed_s.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include <samed/weights/model_header.hpp>

namespace samed::tool {

namespace {

bool starts_with(std::string_view s, std::string_view prefix) {
    return s.substr(0, prefix.size()) == prefix;
}

std::string lora_name(int block, char matrix, char part) {
    return "image_encoder.blocks." + std::to_string(block) + ".attn.qkv.linear_" + matrix + "_" + part + ".weight";
}

/// `w_a_013` to LoRA's name of block 6, v.
std::optional<std::string> delta_name(std::string_view name) {
    if (!starts_with(name, "w_a_") && !starts_with(name, "w_b_")) return std::nullopt;
    int number = 0;
    auto const parsed = std::from_chars(name.data() + 4, name.data() + name.size(), number);
    if (name.size() < 7 || parsed.ec != std::errc() || parsed.ptr != name.data() + name.size() || number < 0) return std::nullopt;
    return lora_name(number / 2, name[2], number % 2 == 0 ? 'q' : 'v');
}

/// Empty for buffers that carry no weights.
std::string canonical_name(std::string_view name) {
    if (auto delta = delta_name(name)) return *delta;
    if (auto delta = decoder_lora_name(name)) return *delta;
    for (std::string_view prefix : {"module.", "sam."})
        if (starts_with(name, prefix)) name.remove_prefix(prefix.size());
    if (name == "pixel_mean" || name == "pixel_std") return "";
    std::string out = renamed_efficient_sam(name);
    if (std::size_t const at = out.find(".attn.qkv.qkv."); at != std::string::npos) out.erase(at + 9, 4);
    if (std::size_t const at = out.find("_proj.proj."); at != std::string::npos) out.erase(at + 6, 5);
    return out;
}

Error missing(NamedTensors const& tensors, std::string_view name) {
    Error const e = fail(ErrorCode::missing_tensor, name, "a tensor of this name", "none").in(tensors.path());
    if (starts_with(name, "image_encoder.") && tensors.has_lora())
        return e.advise("this is SAMed's LoRA file: pass it as --adapter, and SAM's checkpoint as --base");
    return e;
}

/// Blocks whose tables have the length of the whole grid attend globally; the others agree on one window.
Result<void> infer_attention(NamedTensors const& base, VitConfig& e) {
    int const whole = 2 * e.grid() - 1;
    e.global_blocks_known = true;
    for (int i = 0; i < e.depth; ++i) {
        std::string const name = "image_encoder.blocks." + std::to_string(i) + ".attn.rel_pos_h";
        SAMED_TRY(int const length, base.size(name, 2, 0));
        if (length == whole) {
            e.global_blocks |= std::uint64_t{1} << i;
            continue;
        }
        int const window = (length + 1) / 2;
        if (length % 2 == 0 || (e.window_size > 0 && e.window_size != window))
            return fail(ErrorCode::shape_mismatch, name,
                        text() << whole << " rows (global) or " << (e.window_size > 0 ? 2 * e.window_size - 1 : 27) << " (window)",
                        text() << length)
                .in(base.path());
        e.window_size = window;
    }
    if (e.window_size > 0) return {};
    // Every table spans the grid: a window as large as the grid looks the same as global attention, and is, until a resize.
    e.window_size = e.grid();
    for (VitConfig const& known : {vit_b(), vit_l(), vit_h(), vit_tiny()})
        if (known.width == e.width && known.depth == e.depth && known.window_size == e.grid()) e.global_blocks = known.global_blocks;
    return {};
}

Result<int> count_layers(NamedTensors const& tensors, std::string const& prefix, std::string const& suffix, int most) {
    int n = 0;
    while (n <= most && tensors.find(prefix + std::to_string(n) + suffix)) ++n;
    if (n == 0) return missing(tensors, prefix + "0" + suffix);
    if (n > most) return fail(ErrorCode::too_large, prefix, text() << "at most " << most << " layers", "more").in(tensors.path());
    return n;
}

/// The facts that prompt encoder and mask decoder carry.
/// @param transformer  holds the two-way transformer: the base, for SAMed_s
Result<void> infer_decoder(NamedTensors const& tensors, NamedTensors const& transformer, ModelConfig& c, int decoder_heads) {
    c.prompt.mask_channels = 16;
    if (!has_efficient_sam(tensors)) {  // it takes no masks
        SAMED_TRY(c.prompt.mask_channels, tensors.size("prompt_encoder.mask_downscaling.3.weight", 4, 0));
    }
    SAMED_TRY(c.decoder.mask_tokens, tensors.size("mask_decoder.mask_tokens.weight", 2, 0));
    std::string const layers = "mask_decoder.transformer.layers.";
    SAMED_TRY(c.decoder.depth, count_layers(transformer, layers, ".norm1.weight", DecoderConfig::max_depth));
    SAMED_TRY(c.decoder.mlp_width, transformer.size(layers + "0.mlp.lin1.weight", 2, 0));
    int const width = c.encoder.neck_width;
    c.decoder.heads = decoder_heads > 0 ? decoder_heads : width == 256 ? 8 : std::max(1, width / 32);
    return {};
}

Result<void> infer_encoder(NamedTensors const& base, VitConfig& e) {
    SAMED_TRY(e.width, base.size("image_encoder.patch_embed.proj.weight", 4, 0));
    SAMED_TRY(e.patch_size, base.size("image_encoder.patch_embed.proj.weight", 4, 2));
    SAMED_TRY(int const grid, base.size("image_encoder.pos_embed", 4, 1));
    e.image_size = grid * e.patch_size;
    SAMED_TRY(e.depth, count_layers(base, "image_encoder.blocks.", ".norm1.weight", VitConfig::max_depth));
    SAMED_TRY(int const head_dim, base.size("image_encoder.blocks.0.attn.rel_pos_h", 2, 1));
    if (e.width % head_dim != 0)
        return fail(ErrorCode::shape_mismatch, "image_encoder.blocks.0.attn.rel_pos_h", text() << "a head width that divides " << e.width,
                    text() << head_dim)
            .in(base.path());
    e.heads = e.width / head_dim;
    SAMED_TRY(e.mlp_width, base.size("image_encoder.blocks.0.mlp.lin1.weight", 2, 0));
    SAMED_TRY(e.neck_width, base.size("image_encoder.neck.0.weight", 4, 0));
    e.window_size = 0;
    return infer_attention(base, e);
}

/// Rank, after a check that the LoRA belongs to this encoder.
Result<int> infer_rank(NamedTensors const& tensors, VitConfig const& e) {
    SAMED_TRY(int const rank, tensors.size(lora_name(0, 'a', 'q'), 2, 0));
    SAMED_TRY(int const width, tensors.size(lora_name(0, 'a', 'q'), 2, 1));
    auto const description = [](int w, int d) { return text() << "width " << w << ", depth " << d; };
    if (width != e.width || tensors.lora_blocks() != e.depth) {
        auto const* first = tensors.find(lora_name(0, 'a', 'q'));
        return fail(ErrorCode::base_mismatch, first->name, description(e.width, e.depth) << ", as the base",
                    description(width, tensors.lora_blocks()))
            .in(tensors.path())
            .advise("this adapter was trained on another size of ViT");
    }
    return rank;
}

}  // namespace

Result<NamedTensors> NamedTensors::of(Checkpoint const& file) {
    NamedTensors out(file);
    for (CheckpointTensor const& t : file.tensors()) {
        std::string name = canonical_name(t.name);
        if (name.empty()) continue;
        auto const [at, added] = out.by_name_.emplace(std::move(name), &t);
        if (!added)
            return fail(ErrorCode::bad_format, t.name, "every tensor once", text() << "the same as " << at->second->name).in(file.path());
    }
    return out;
}

int NamedTensors::lora_blocks() const {
    int blocks = 0;
    constexpr std::string_view prefix = "image_encoder.blocks.";
    for (auto const& [name, tensor] : by_name_) {
        if (!starts_with(name, prefix) || name.find(".attn.qkv.linear_") == std::string::npos) continue;
        int block = 0;
        std::from_chars(name.data() + prefix.size(), name.data() + name.size(), block);
        blocks = std::max(blocks, block + 1);
    }
    return blocks;
}

Result<int> NamedTensors::size(std::string_view name, int rank, int axis) const {
    CheckpointTensor const* t = find(name);
    if (!t) return missing(*this, name);
    if (static_cast<int>(t->shape.size()) != rank)
        return fail(ErrorCode::shape_mismatch, t->name, text() << rank << " axes", shape_text(t->shape)).in(path());
    std::int64_t const n = t->shape[static_cast<std::size_t>(axis)];
    if (n < 1 || n > (1 << 20)) return fail(ErrorCode::out_of_range, t->name, "sizes from 1 to 2^20", shape_text(t->shape)).in(path());
    return static_cast<int>(n);
}

std::vector<TensorSpec> tensors_of(ModelConfig const& config, bool decoder_lora) {
    std::vector<TensorSpec> out;
    using Part = TensorSpec::Part;
    Part part = Part::image_encoder;
    auto const add = [&](std::string name, std::vector<std::int64_t> shape) {
        out.push_back({std::move(name), std::move(shape), part, {}, {}});
    };
    auto const affine = [&](std::string const& name, std::vector<std::int64_t> shape, std::int64_t bias) {
        add(name + ".weight", std::move(shape));
        add(name + ".bias", {bias});
    };
    auto const linear = [&](std::string const& name, std::int64_t to, std::int64_t from) { affine(name, {to, from}, to); };
    auto const norm = [&](std::string const& name, std::int64_t n) { affine(name, {n}, n); };

    VitConfig const& e = config.encoder;
    std::int64_t const c = e.width, n = e.neck_width, grid = e.grid(), patch = e.patch_size;
    add("image_encoder.pos_embed", {1, grid, grid, c});
    affine("image_encoder.patch_embed.proj", {c, 3, patch, patch}, c);
    for (int i = 0; i < e.depth; ++i) {
        std::string const block = "image_encoder.blocks." + std::to_string(i);
        std::int64_t const rows = 2 * (e.is_global(i) ? grid : e.window_size) - 1;
        norm(block + ".norm1", c);
        linear(block + ".attn.qkv", 3 * c, c);
        linear(block + ".attn.proj", c, c);
        add(block + ".attn.rel_pos_h", {rows, e.head_dim()});
        add(block + ".attn.rel_pos_w", {rows, e.head_dim()});
        norm(block + ".norm2", c);
        linear(block + ".mlp.lin1", e.mlp_width, c);
        linear(block + ".mlp.lin2", c, e.mlp_width);
    }
    add("image_encoder.neck.0.weight", {n, c, 1, 1});
    norm("image_encoder.neck.1", n);
    add("image_encoder.neck.2.weight", {n, n, 3, 3});
    norm("image_encoder.neck.3", n);

    part = Part::lora;
    for (int i = 0; config.rank > 0 && i < e.depth; ++i)
        for (char qv : {'q', 'v'}) {
            add(lora_name(i, 'a', qv), {config.rank, c});
            add(lora_name(i, 'b', qv), {c, config.rank});
        }
    if (decoder_lora && config.rank > 0)
        for (DecoderLora const& l : tool::decoder_lora(config)) add(l.model, {l.rows, l.columns});

    part = Part::prompt_encoder;
    std::string const prompt = "prompt_encoder.";
    std::int64_t const m = config.prompt.mask_channels;
    add(prompt + "pe_layer.positional_encoding_gaussian_matrix", {2, n / 2});
    for (int i = 0; i < 4; ++i) add(prompt + "point_embeddings." + std::to_string(i) + ".weight", {1, n});
    add(prompt + "not_a_point_embed.weight", {1, n});
    add(prompt + "no_mask_embed.weight", {1, n});
    affine(prompt + "mask_downscaling.0", {m / 4, 1, 2, 2}, m / 4);
    norm(prompt + "mask_downscaling.1", m / 4);
    affine(prompt + "mask_downscaling.3", {m, m / 4, 2, 2}, m);
    norm(prompt + "mask_downscaling.4", m);
    affine(prompt + "mask_downscaling.6", {n, m, 1, 1}, n);

    part = decoder_lora ? Part::transformer : Part::mask_decoder;
    std::string const transformer = "mask_decoder.transformer.";
    auto const attention = [&](std::string const& name, std::int64_t inner) {
        for (char const* projection : {".q_proj", ".k_proj", ".v_proj"}) linear(name + projection, inner, n);
        linear(name + ".out_proj", n, inner);
    };
    DecoderConfig const& d = config.decoder;
    for (int i = 0; i < d.depth; ++i) {
        std::string const layer = transformer + "layers." + std::to_string(i);
        attention(layer + ".self_attn", n);
        attention(layer + ".cross_attn_token_to_image", n / 2);
        attention(layer + ".cross_attn_image_to_token", n / 2);
        for (int k = 1; k <= 4; ++k) norm(layer + ".norm" + std::to_string(k), n);
        linear(layer + ".mlp.lin1", d.mlp_width, n);
        linear(layer + ".mlp.lin2", n, d.mlp_width);
    }
    attention(transformer + "final_attn_token_to_image", n / 2);
    norm(transformer + "norm_final_attn", n);
    part = Part::mask_decoder;
    std::string const decoder = "mask_decoder.";
    add(decoder + "iou_token.weight", {1, n});
    add(decoder + "mask_tokens.weight", {d.mask_tokens, n});
    affine(decoder + "output_upscaling.0", {n, n / 4, 2, 2}, n / 4);
    norm(decoder + "output_upscaling.1", n / 4);
    affine(decoder + "output_upscaling.3", {n / 4, n / 8, 2, 2}, n / 8);
    auto const mlp3 = [&](std::string const& name, std::int64_t to) {
        linear(name + ".layers.0", n, n);
        linear(name + ".layers.1", n, n);
        linear(name + ".layers.2", to, n);
    };
    for (int i = 0; i < d.mask_tokens; ++i) mlp3(decoder + "output_hypernetworks_mlps." + std::to_string(i), n / 8);
    mlp3(decoder + "iou_prediction_head", d.mask_tokens);
    return out;
}

Result<InferredConfig> infer_config(NamedTensors const& base, NamedTensors const* adapter, InferOptions const& options) {
    InferredConfig out;
    ModelConfig& c = out.checkpoint;
    if (has_tiny_vit(base)) {
        SAMED_CHECK(infer_tiny_vit(base, c.encoder));
        out.variant = c.encoder.patch_size == 16 ? "mobile_sam" : "lite_med_sam";
    } else if (has_efficient_sam(base)) {
        SAMED_CHECK(infer_efficient_sam(base, options.encoder_heads, c.encoder));
        out.variant = "efficient_sam";
    } else {
        SAMED_CHECK(infer_encoder(base, c.encoder));
    }
    if (!out.variant.empty() && adapter)
        return fail(ErrorCode::invalid_argument, "--adapter", "none: SAMed's LoRA is for SAM's ViT", "one").in(adapter->path());
    if (options.encoder_heads > 0 && out.variant != "efficient_sam")
        return fail(ErrorCode::invalid_argument, "--encoder-heads", "none: the tensors tell", "an option").in(base.path());
    NamedTensors const& head = adapter ? *adapter : base;
    c.rank = 0;
    if (options.decoder_only && head.has_lora())
        return fail(ErrorCode::unexpected_tensor, "--decoder-only", "an adapter without LoRA", "LoRA")
            .in(head.path())
            .advise("leave the option out");
    if (head.has_lora()) {
        SAMED_TRY(c.rank, infer_rank(head, c.encoder));
    } else if (adapter && !options.decoder_only) {
        return missing(head, "w_a_000");
    }
    out.decoder_lora = head.has_decoder_lora();
    if (out.decoder_lora) out.variant = "samed_s";
    SAMED_CHECK(infer_decoder(head, out.decoder_lora ? base : head, c, options.decoder_heads));
    out.model = c;
    if (options.image_size != 0) out.model.encoder.image_size = options.image_size;
    if (auto const good = check_config(c); !good) return good.error().in(base.path());
    SAMED_CHECK(check_config(out.model));
    return out;
}

}  // namespace samed::tool
