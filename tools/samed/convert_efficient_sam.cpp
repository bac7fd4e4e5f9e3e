// SPDX-License-Identifier: Apache-2.0
#include "convert_efficient_sam.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <samed/image/postprocess.hpp>

namespace samed::tool {

namespace {

constexpr char pos_embed[] = "image_encoder.pos_embed";

bool starts_with(std::string_view s, std::string_view prefix) {
    return s.substr(0, prefix.size()) == prefix;
}

/// Side of the grid that the position embedding was trained on; its first row is the class token.
Result<int> trained_grid(NamedTensors const& base) {
    SAMED_TRY(int const rows, base.size(pos_embed, 3, 1));
    int const side = static_cast<int>(std::lround(std::sqrt(static_cast<double>(rows - 1))));
    if (side < 1 || side * side + 1 != rows)
        return fail(ErrorCode::shape_mismatch, pos_embed, "a class token and a square of positions", text() << rows << " rows")
            .in(base.path());
    return side;
}

/// [1, 1 + n * n, C] to [1, grid, grid, C].
struct ResizedPositions {
    NamedTensors const* base;
    int trained, grid, width;

    Result<Buffer<float>> operator()() const {
        CheckpointTensor const& t = *base->find(pos_embed);
        SAMED_TRY(auto rows, Buffer<float>::allocate(static_cast<std::size_t>(t.count())));
        SAMED_CHECK(base->file().read_f32(t, rows.data()));
        SAMED_TRY(auto out, Buffer<float>::allocate(static_cast<std::size_t>(grid) * static_cast<std::size_t>(grid) *
                                                    static_cast<std::size_t>(width)));
        float const* const first = rows.data() + width;
        if (trained == grid) {
            std::copy_n(first, out.size(), out.data());
            return out;
        }
        for (int c = 0; c < width; ++c) bicubic(first + c, trained, trained, width, grid, grid, out.data() + c, width);  // [g, g, C]
        return out;
    }
};

}  // namespace

std::string renamed_efficient_sam(std::string_view name) {
    std::string out(name);
    auto const replace = [&](std::string_view from, std::string_view to) {
        if (std::size_t const at = out.find(from); at != std::string::npos) out.replace(at, from.size(), to);
    };
    if (starts_with(name, "image_encoder.blocks.")) {
        replace(".mlp.fc1.", ".mlp.lin1.");
        replace(".mlp.fc2.", ".mlp.lin2.");
    } else if (starts_with(name, "mask_decoder.transformer.")) {
        replace(".mlp.layers.0.0.", ".mlp.lin1.");
        replace(".mlp.fc.", ".mlp.lin2.");
    } else if (starts_with(name, "mask_decoder.")) {
        replace(".final_output_upscaling_layers.0.0.", ".output_upscaling.0.");
        replace(".final_output_upscaling_layers.0.1.", ".output_upscaling.1.");
        replace(".final_output_upscaling_layers.1.0.", ".output_upscaling.3.");
        replace(".layers.0.0.", ".layers.0.");
        replace(".layers.1.0.", ".layers.1.");
        replace(".fc.", ".layers.2.");
    }
    return out;
}

bool has_efficient_sam(NamedTensors const& base) {
    return base.find("prompt_encoder.invalid_points.weight") != nullptr;
}

Result<void> infer_efficient_sam(NamedTensors const& base, int heads, VitConfig& e) {
    SAMED_TRY(e.width, base.size("image_encoder.patch_embed.proj.weight", 4, 0));
    SAMED_TRY(e.patch_size, base.size("image_encoder.patch_embed.proj.weight", 4, 2));
    SAMED_CHECK(trained_grid(base));
    e.image_size = 64 * e.patch_size;
    e.depth = 0;
    while (e.depth <= VitConfig::max_depth && base.find("image_encoder.blocks." + std::to_string(e.depth) + ".norm1.weight")) ++e.depth;
    if (e.depth < 1 || e.depth > VitConfig::max_depth)
        return fail(ErrorCode::missing_tensor, "image_encoder.blocks.0.norm1.weight", text() << "1.." << VitConfig::max_depth << " blocks",
                    text() << e.depth)
            .in(base.path());
    SAMED_TRY(e.mlp_width, base.size("image_encoder.blocks.0.mlp.lin1.weight", 2, 0));
    SAMED_TRY(e.neck_width, base.size("image_encoder.neck.0.weight", 4, 0));
    e.heads = heads > 0 ? heads : std::max(1, e.width / 64);
    e.window_size = 64;  // of no block
    for (int i = 0; i < e.depth; ++i) e.global_blocks |= std::uint64_t{1} << i;
    e.global_blocks_known = true;
    return {};
}

Result<std::vector<TensorSpec>> efficient_sam_tensors(NamedTensors const& base, ModelConfig const& model) {
    using Part = TensorSpec::Part;
    std::vector<TensorSpec> out;
    VitConfig const& e = model.encoder;
    SAMED_TRY(int const trained, trained_grid(base));
    SAMED_TRY(int const width, base.size(pos_embed, 3, 2));
    if (width != e.width)
        return fail(ErrorCode::shape_mismatch, pos_embed, text() << e.width << " channels", text() << width).in(base.path());
    for (TensorSpec& spec : tensors_of(model)) {
        if (spec.part != Part::image_encoder || spec.name.find(".rel_pos_") != std::string::npos) continue;
        if (spec.name == pos_embed) {
            spec.reads = {pos_embed};
            spec.make = ResizedPositions{&base, trained, e.grid(), e.width};
        }
        out.push_back(std::move(spec));
    }
    std::string const prompt = "prompt_encoder.";
    std::int64_t const n = e.neck_width;
    out.push_back({prompt + "pe_layer.positional_encoding_gaussian_matrix", {2, n / 2}, Part::prompt_encoder});
    for (char const* embedding : {"invalid_points", "point_embeddings", "bbox_top_left_embeddings", "bbox_bottom_right_embeddings"})
        out.push_back({prompt + embedding + ".weight", {1, n}, Part::prompt_encoder});
    return out;
}

}  // namespace samed::tool
