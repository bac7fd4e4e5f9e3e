// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <string>

#include <samed/adapters/lora.hpp>
#include <samed/config/model_config.hpp>
#include <samed/train/network_reader.hpp>
#include <samed/train/operations.hpp>

namespace samed::train {

/// SAM's image encoder with LoRA on q and v: everything else is frozen.
/// @source SAMed (Zhang & Liu 2023), section 3.2
template <TrainingBackend C>
class Encoder {
public:
    using Scalar = typename C::Scalar;

    Result<void> load(NetworkReader<C>& reader, ModelConfig const& config) {
        VitConfig const& e = config.encoder;
        config_ = e;
        int const c = e.width, grid = e.grid(), patch = e.patch_size;
        std::string const root = "image_encoder.";
        SAMED_TRY(std::vector<float> const weight, reader.values(root + "patch_embed.proj.weight", {c, 3, patch, patch}));
        SAMED_CHECK(reader.pack(patch_embed_, c, 3 * patch * patch, from_file<float>(WeightLayout::conv, {c, 3, patch, patch}, weight)));
        SAMED_TRY(patch_bias_, reader.frozen(root + "patch_embed.proj.bias", {c}));
        SAMED_TRY(pos_embed_, reader.frozen(root + "pos_embed", {1, grid, grid, c}));
        for (int i = 0; i < e.depth; ++i) SAMED_CHECK(load_block(reader, blocks_.emplace_back(), i, config.rank));
        SAMED_CHECK(reader.frozen_conv(conv1_, root + "neck.0", c, e.neck_width, 1));
        SAMED_CHECK(reader.frozen_norm(norm1_, root + "neck.1", e.neck_width, 1e-6));
        SAMED_CHECK(reader.frozen_conv(conv2_, root + "neck.2", e.neck_width, e.neck_width, 3));
        return reader.frozen_norm(norm2_, root + "neck.3", e.neck_width, 1e-6);
    }

    int depth() const { return config_.depth; }
    int tokens(int batch) const { return batch * config_.grid() * config_.grid(); }
    int width() const { return config_.width; }

    /// Patches with their position; nothing before it learns.
    /// @param images  [B, 3, S, S]
    /// @param x       [B, grid, grid, C]
    void embed(C& context, int batch, Scalar const* images, Scalar* x) const {
        kernels::Conv2dArgs<Scalar, typename C::Matrix> a;
        a.batch = batch;
        a.height = a.width = config_.image_size;
        a.channels = 3;
        a.out_channels = config_.width;
        a.kernel = a.stride = config_.patch_size;
        a.x = images;
        a.column_stride = 1;
        a.row_stride = config_.image_size;
        a.channel_stride = std::int64_t{config_.image_size} * config_.image_size;
        a.batch_stride = 3 * a.channel_stride;
        a.weight = patch_embed_.forward(context);
        a.bias = patch_bias_.value;
        a.residual = pos_embed_.value;
        a.out = x;
        conv2d(context, a);
    }

    /// x + attention(norm1(x)), then + mlp(norm2(x)).
    /// @param x  [B, grid, grid, C]
    Variable<Scalar> block(Tape<C>& tape, int index, int batch, Variable<Scalar> x) const {
        Block const& b = blocks_[static_cast<std::size_t>(index)];
        int const grid = config_.grid();
        Variable<Scalar> const qkv = lora_qkv(tape, layer_norm(tape, x, b.norm1), b.attention);
        x = linear(tape, image_attend(tape, batch, grid, grid, qkv, b.attention), b.proj, x);
        return linear(tape, linear_activated(tape, layer_norm(tape, x, b.norm2), b.lin1, Activation::gelu), b.lin2, x);
    }

    /// The image embedding, [B, grid, grid, neck_width].
    Variable<Scalar> neck(Tape<C>& tape, int batch, Variable<Scalar> x) const {
        x = layer_norm(tape, frozen_conv(tape, batch, 1, x, conv1_), norm1_);
        return layer_norm(tape, frozen_conv(tape, batch, 3, x, conv2_), norm2_);
    }

private:
    struct Block {
        LayerNorm<C> norm1, norm2;
        ImageAttention<C> attention;
        Linear<C> proj, lin1, lin2;
    };

    Result<void> load_block(NetworkReader<C>& reader, Block& b, int index, int rank) {
        std::string const name = "image_encoder.blocks." + std::to_string(index);
        int const c = config_.width, head_dim = config_.head_dim();
        adapters::BlockInfo const info{index, config_.is_global(index), c};
        SAMED_CHECK(reader.frozen_norm(b.norm1, name + ".norm1", c, 1e-6));
        SAMED_TRY(std::vector<float> const qkv, reader.values(name + ".attn.qkv.weight", {3 * c, c}));
        std::ptrdiff_t const part = std::ptrdiff_t{c} * c;
        LoraLinear<C>* const parts[] = {&b.attention.q, &b.attention.k, &b.attention.v};
        for (std::ptrdiff_t i = 0; i < 3; ++i)
            SAMED_CHECK(reader.pack(parts[i]->packed, c, c, {qkv.begin() + i * part, qkv.begin() + (i + 1) * part}));
        for (auto which : {adapters::QkvPart::q, adapters::QkvPart::v}) {
            LoraLinear<C>& l = which == adapters::QkvPart::q ? b.attention.q : b.attention.v;
            adapters::LoraNames const names = adapters::lora_names(info, which);
            auto const stem = [](std::string const& full) { return full.substr(0, full.size() - std::string_view(".weight").size()); };
            SAMED_CHECK(reader.trained_linear(l.a, stem(names.a), c, rank, false));
            SAMED_CHECK(reader.trained_linear(l.b, stem(names.b), rank, c, false));
        }
        SAMED_TRY(Leaf<Scalar> const bias, reader.frozen(name + ".attn.qkv.bias", {3 * c}));
        b.attention.bias = bias.value;
        b.attention.heads = config_.heads;
        b.attention.window = info.global ? 0 : config_.window_size;
        int const rows = 2 * (info.global ? config_.grid() : config_.window_size) - 1;
        SAMED_TRY(Leaf<Scalar> const rel_pos_h, reader.frozen(name + ".attn.rel_pos_h", {rows, head_dim}));
        SAMED_TRY(Leaf<Scalar> const rel_pos_w, reader.frozen(name + ".attn.rel_pos_w", {rows, head_dim}));
        b.attention.rel_pos_h = rel_pos_h.value;
        b.attention.rel_pos_w = rel_pos_w.value;
        SAMED_CHECK(reader.frozen_linear(b.proj, name + ".attn.proj", c, c));
        SAMED_CHECK(reader.frozen_norm(b.norm2, name + ".norm2", c, 1e-6));
        SAMED_CHECK(reader.frozen_linear(b.lin1, name + ".mlp.lin1", c, config_.mlp_width));
        return reader.frozen_linear(b.lin2, name + ".mlp.lin2", config_.mlp_width, c);
    }

    /// Same size, no bias.
    Variable<Scalar> frozen_conv(Tape<C>& tape, int batch, int kernel, Variable<Scalar> x, Linear<C> const& l) const {
        C& context = tape.context();
        Variable<Scalar> y = tape.make(x.rows, l.out(), x.grad != nullptr);
        kernels::Conv2dArgs<Scalar, typename C::Matrix> a;
        a.batch = batch;
        a.height = a.width = config_.grid();
        a.channels = x.width;
        a.out_channels = l.out();
        a.kernel = kernel;
        a.padding = kernel / 2;
        a.x = x.value;
        a.channel_stride = 1;
        a.column_stride = x.width;
        a.row_stride = std::int64_t{a.width} * x.width;
        a.batch_stride = a.row_stride * a.height;
        a.weight = l.packed.forward(context);
        a.out = y.value;
        conv2d(context, a);
        if (y.grad)
            tape.on_backward([&context, &l, a, x, y] {
                conv2d_backward(context, kernels::Conv2dBackwardArgs<Scalar, typename C::Matrix>{a, l.packed.transposed(context), y.grad,
                                                                                                 x.grad, nullptr, nullptr});
            });
        return y;
    }

    VitConfig config_;
    PackedPair<C> patch_embed_;
    Leaf<Scalar> patch_bias_, pos_embed_;
    std::deque<Block> blocks_;
    Linear<C> conv1_, conv2_;
    LayerNorm<C> norm1_, norm2_;
};

}  // namespace samed::train
