// SPDX-License-Identifier: Apache-2.0
#include "convert_mobile_sam.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

namespace samed::tool {

namespace {

constexpr std::string_view encoder = "image_encoder.";
constexpr std::string_view conv_end = ".c.weight";
constexpr int stages = 4;
constexpr double batch_norm_eps = 1e-5;

bool starts_with(std::string_view s, std::string_view prefix) {
    return s.substr(0, prefix.size()) == prefix;
}
bool ends_with(std::string_view s, std::string_view end) {
    return s.size() >= end.size() && s.substr(s.size() - end.size()) == end;
}

std::string layer(int i) {
    return "image_encoder.layers." + std::to_string(i) + ".";
}

Result<int> count_blocks(NamedTensors const& base, int i) {
    std::string const suffix = i == 0 ? ".conv1.c.weight" : ".attn.qkv.weight";
    int n = 0;
    while (n <= VitConfig::max_depth && base.find(layer(i) + "blocks." + std::to_string(n) + suffix)) ++n;
    if (n == 0 || n > VitConfig::max_depth)
        return fail(ErrorCode::missing_tensor, layer(i) + "blocks.0" + suffix, text() << "1.." << VitConfig::max_depth << " blocks",
                    text() << n)
            .in(base.path());
    return n;
}

Result<Buffer<float>> read(NamedTensors const& base, std::string const& name) {
    CheckpointTensor const& t = *base.find(name);
    SAMED_TRY(auto values, Buffer<float>::allocate(static_cast<std::size_t>(t.count())));
    SAMED_CHECK(base.file().read_f32(t, values.data()));
    return values;
}

/// A convolution without bias and the batch norm after it: w gamma / sqrt(var + eps), beta - mean gamma / sqrt(var + eps).
struct FoldedConv {
    NamedTensors const* base;
    std::string name;
    bool bias;

    Result<Buffer<float>> operator()() const {
        std::string const norm = name + ".bn.";
        SAMED_TRY(auto const gamma, read(*base, norm + "weight"));
        SAMED_TRY(auto const beta, read(*base, norm + "bias"));
        SAMED_TRY(auto const mean, read(*base, norm + "running_mean"));
        SAMED_TRY(auto const variance, read(*base, norm + "running_var"));
        auto const scale = [&](std::size_t o) { return double{gamma[o]} / std::sqrt(double{variance[o]} + batch_norm_eps); };
        if (bias) {
            SAMED_TRY(auto out, Buffer<float>::allocate(gamma.size()));
            for (std::size_t o = 0; o < out.size(); ++o) out[o] = static_cast<float>(beta[o] - mean[o] * scale(o));
            return out;
        }
        SAMED_TRY(auto weight, read(*base, name + std::string(conv_end)));
        std::size_t const taps = weight.size() / gamma.size();
        for (std::size_t o = 0; o < gamma.size(); ++o)
            for (std::size_t i = 0; i < taps; ++i) weight[o * taps + i] = static_cast<float>(weight[o * taps + i] * scale(o));
        return weight;
    }
};

/// Rows [heads, (q, k, v), head_dim] to [(q, k, v), heads, head_dim].
struct SortedQkv {
    NamedTensors const* base;
    std::string name;
    std::size_t heads;

    Result<Buffer<float>> operator()() const {
        SAMED_TRY(auto const from, read(*base, name));
        SAMED_TRY(auto to, Buffer<float>::allocate(from.size()));
        std::size_t const piece = from.size() / (3 * heads);
        for (std::size_t h = 0; h < heads; ++h)
            for (std::size_t part = 0; part < 3; ++part)
                std::copy_n(from.data() + (h * 3 + part) * piece, piece, to.data() + (part * heads + h) * piece);
        return to;
    }
};

Result<void> add_conv(NamedTensors const& base, std::string const& name, CheckpointTensor const& weight, std::vector<TensorSpec>& out) {
    if (weight.shape.size() != 4) return fail(ErrorCode::shape_mismatch, weight.name, "4 axes", shape_text(weight.shape)).in(base.path());
    std::vector<std::string> reads{name + std::string(conv_end)};
    for (char const* part : {"weight", "bias", "running_mean", "running_var"}) {
        std::string const norm = name + ".bn." + part;
        CheckpointTensor const* t = base.find(norm);
        std::vector<std::int64_t> const shape{weight.shape[0]};
        if (!t) return fail(ErrorCode::missing_tensor, norm, shape_text(shape), "no such tensor").in(base.path());
        if (t->shape != shape) return fail(ErrorCode::shape_mismatch, norm, shape_text(shape), shape_text(t->shape)).in(base.path());
        reads.push_back(norm);
    }
    out.push_back({name + ".weight", weight.shape, TensorSpec::Part::image_encoder, reads, FoldedConv{&base, name, false}});
    out.push_back({name + ".bias", {weight.shape[0]}, TensorSpec::Part::image_encoder, reads, FoldedConv{&base, name, true}});
    return {};
}

}  // namespace

bool has_tiny_vit(NamedTensors const& base) {
    return base.find("image_encoder.patch_embed.seq.0.c.weight") != nullptr;
}

bool is_left_of_training(std::string_view name) {
    return starts_with(name, encoder) && (ends_with(name, ".bn.num_batches_tracked") || starts_with(name, "image_encoder.norm_head.") ||
                                          starts_with(name, "image_encoder.head."));
}

Result<void> infer_tiny_vit(NamedTensors const& base, VitConfig& e) {
    std::string const last = layer(stages - 1) + "blocks.0.";
    SAMED_TRY(int const kernel, base.size("image_encoder.patch_embed.seq.0.c.weight", 4, 2));
    e.image_size = kernel == 1 ? 256 : 1024;
    e.patch_size = kernel == 1 ? 4 : 16;
    e.depth = 0;
    for (int i = 0; i < stages; ++i) {
        SAMED_TRY(int const blocks, count_blocks(base, i));
        e.depth += blocks;
    }
    SAMED_TRY(e.neck_width, base.size("image_encoder.neck.0.weight", 4, 0));
    SAMED_TRY(e.width, base.size("image_encoder.neck.0.weight", 4, 1));
    SAMED_TRY(e.heads, base.size(last + "attn.attention_biases", 2, 0));
    SAMED_TRY(int const offsets, base.size(last + "attn.attention_biases", 2, 1));
    e.window_size = static_cast<int>(std::lround(std::sqrt(static_cast<double>(offsets))));
    SAMED_TRY(e.mlp_width, base.size(last + "mlp.fc1.weight", 2, 0));
    e.global_blocks_known = true;
    return {};
}

Result<std::vector<TensorSpec>> tiny_vit_tensors(NamedTensors const& base) {
    std::vector<TensorSpec> out;
    for (auto const& [name, tensor] : base.all()) {
        if (!starts_with(name, encoder) || is_left_of_training(name) || name.find(".bn.") != std::string::npos) continue;
        if (ends_with(name, conv_end)) {
            SAMED_CHECK(add_conv(base, name.substr(0, name.size() - conv_end.size()), *tensor, out));
            continue;
        }
        TensorSpec spec{name, tensor->shape, TensorSpec::Part::image_encoder, {name}, {}};
        if (std::size_t const at = name.find(".attn.qkv."); at != std::string::npos) {
            SAMED_TRY(int const heads, base.size(name.substr(0, at) + ".attn.attention_biases", 2, 0));
            if (tensor->shape.empty() || tensor->shape[0] % (3 * heads) != 0)
                return fail(ErrorCode::shape_mismatch, name, text() << "a multiple of 3 x " << heads << " rows", shape_text(tensor->shape))
                    .in(base.path());
            spec.make = SortedQkv{&base, name, static_cast<std::size_t>(heads)};
        }
        out.push_back(std::move(spec));
    }
    return out;
}

}  // namespace samed::tool
