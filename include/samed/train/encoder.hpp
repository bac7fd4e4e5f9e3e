// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <string>

#include <samed/adapters/lora.hpp>
#include <samed/config/model_config.hpp>
#include <samed/train/network_reader.hpp>
#include <samed/train/operations.hpp>

namespace samed::train {

/// SAM's image encoder: with LoRA on q and v and everything else frozen, or all of it learning.
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
        SAMED_CHECK(reader.base_conv(patch_embed_, root + "patch_embed.proj", 3, c, patch));
        SAMED_TRY(patch_embed_.bias, reader.base(root + "patch_embed.proj.bias", {c}));
        SAMED_TRY(pos_embed_, reader.base(root + "pos_embed", {1, grid, grid, c}));
        for (int i = 0; i < e.depth; ++i) SAMED_CHECK(load_block(reader, blocks_.emplace_back(), i, config.rank));
        SAMED_CHECK(reader.base_conv(conv1_, root + "neck.0", c, e.neck_width, 1));
        SAMED_CHECK(reader.base_norm(norm1_, root + "neck.1", e.neck_width, 1e-6));
        SAMED_CHECK(reader.base_conv(conv2_, root + "neck.2", e.neck_width, e.neck_width, 3));
        return reader.base_norm(norm2_, root + "neck.3", e.neck_width, 1e-6);
    }

    int depth() const { return config_.depth; }
    int tokens(int batch) const { return batch * config_.grid() * config_.grid(); }
    int width() const { return config_.width; }
    bool embedding_learns() const { return pos_embed_.grad != nullptr; }

    /// Patches with their position.
    /// @param images  [B, 3, S, S]
    /// @param x       [B, grid, grid, C]
    void embed(C& context, int batch, Scalar const* images, Scalar* x) const {
        kernels::Conv2dArgs<Scalar, typename C::Matrix> a = patches(batch, images);
        a.column_stride = 1;
        a.row_stride = config_.image_size;
        a.channel_stride = std::int64_t{config_.image_size} * config_.image_size;
        a.weight = patch_embed_.packed.forward(context);
        a.bias = patch_embed_.bias.value;
        a.residual = pos_embed_.value;
        a.out = x;
        conv2d(context, a);
    }
    /// Where the embedding learns.
    /// @param grad  [B, grid, grid, C], of embed's x
    void embed_backward(C& context, int batch, Scalar const* images, Scalar const* grad) const {
        std::int64_t const period = std::int64_t{config_.grid()} * config_.grid() * config_.width;
        kernels::AddArgs<Scalar> position;
        position.count = batch * period;
        position.period = period;
        add_backward(context, kernels::AddBackwardArgs<Scalar>{position, grad, nullptr, pos_embed_.grad});
        Arena::Frame frame(context.arena());
        kernels::Conv2dArgs<Scalar, typename C::Matrix> a = patches(batch, channels_last(context, batch, images));
        a.column_stride = 3;
        a.row_stride = 3 * std::int64_t{config_.image_size};
        a.channel_stride = 1;
        conv2d_backward(context, kernels::Conv2dBackwardArgs<Scalar, typename C::Matrix>{
                                     a, {}, grad, nullptr, patch_embed_.weight.grad, patch_embed_.bias.grad});
    }

    /// x + attention(norm1(x)), then + mlp(norm2(x)).
    /// @param x  [B, grid, grid, C]
    Variable<Scalar> block(Tape<C>& tape, int index, int batch, Variable<Scalar> x) const {
        Block const& b = blocks_[static_cast<std::size_t>(index)];
        int const grid = config_.grid();
        Variable<Scalar> const normed = layer_norm(tape, x, b.norm1);
        Variable<Scalar> const qkv = b.attention.qkv.out() ? linear(tape, normed, b.attention.qkv) : lora_qkv(tape, normed, b.attention);
        x = linear(tape, image_attend(tape, batch, grid, grid, qkv, b.attention), b.proj, x);
        return linear(tape, linear_activated(tape, layer_norm(tape, x, b.norm2), b.lin1, Activation::gelu), b.lin2, x);
    }

    /// The image embedding, [B, grid, grid, neck_width].
    Variable<Scalar> neck(Tape<C>& tape, int batch, Variable<Scalar> x) const {
        x = layer_norm(tape, conv(tape, batch, 1, x, conv1_), norm1_);
        return layer_norm(tape, conv(tape, batch, 3, x, conv2_), norm2_);
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
        SAMED_CHECK(reader.base_norm(b.norm1, name + ".norm1", c, 1e-6));
        if (reader.learn() == Learn::everything) {
            SAMED_CHECK(reader.trained_linear(b.attention.qkv, name + ".attn.qkv", c, 3 * c));
            b.attention.bias = b.attention.qkv.bias;
        } else {
            SAMED_CHECK(load_lora_qkv(reader, b.attention, name, info, rank));
        }
        b.attention.heads = config_.heads;
        b.attention.window = info.global ? 0 : config_.window_size;
        int const rows = 2 * (info.global ? config_.grid() : config_.window_size) - 1;
        SAMED_TRY(b.attention.rel_pos_h, reader.base(name + ".attn.rel_pos_h", {rows, head_dim}));
        SAMED_TRY(b.attention.rel_pos_w, reader.base(name + ".attn.rel_pos_w", {rows, head_dim}));
        SAMED_CHECK(reader.base_linear(b.proj, name + ".attn.proj", c, c));
        SAMED_CHECK(reader.base_norm(b.norm2, name + ".norm2", c, 1e-6));
        SAMED_CHECK(reader.base_linear(b.lin1, name + ".mlp.lin1", c, config_.mlp_width));
        return reader.base_linear(b.lin2, name + ".mlp.lin2", config_.mlp_width, c);
    }
    Result<void> load_lora_qkv(NetworkReader<C>& reader, ImageAttention<C>& a, std::string const& name, adapters::BlockInfo const& info,
                               int rank) {
        int const c = config_.width;
        SAMED_TRY(std::vector<float> const qkv, reader.values(name + ".attn.qkv.weight", {3 * c, c}));
        std::ptrdiff_t const part = std::ptrdiff_t{c} * c;
        LoraLinear<C>* const parts[] = {&a.q, &a.k, &a.v};
        for (std::ptrdiff_t i = 0; i < 3; ++i)
            SAMED_CHECK(reader.pack(parts[i]->packed, c, c, {qkv.begin() + i * part, qkv.begin() + (i + 1) * part}));
        for (auto which : {adapters::QkvPart::q, adapters::QkvPart::v}) {
            LoraLinear<C>& l = which == adapters::QkvPart::q ? a.q : a.v;
            adapters::LoraNames const names = adapters::lora_names(info, which);
            auto const stem = [](std::string const& full) { return full.substr(0, full.size() - std::string_view(".weight").size()); };
            SAMED_CHECK(reader.trained_linear(l.a, stem(names.a), c, rank, false));
            SAMED_CHECK(reader.trained_linear(l.b, stem(names.b), rank, c, false));
        }
        SAMED_TRY(a.bias, reader.base(name + ".attn.qkv.bias", {3 * c}));
        return {};
    }

    /// The patch embedding's, but for the strides of pixels.
    kernels::Conv2dArgs<Scalar, typename C::Matrix> patches(int batch, Scalar const* images) const {
        kernels::Conv2dArgs<Scalar, typename C::Matrix> a;
        a.batch = batch;
        a.height = a.width = config_.image_size;
        a.channels = 3;
        a.out_channels = config_.width;
        a.kernel = a.stride = config_.patch_size;
        a.x = images;
        a.batch_stride = 3 * std::int64_t{config_.image_size} * config_.image_size;
        return a;
    }
    /// [B, S, S, 3] of [B, 3, S, S], as the backward pass of a convolution reads them; in the arena.
    Scalar const* channels_last(C& context, int batch, Scalar const* images) const {
        std::size_t const side = static_cast<std::size_t>(config_.image_size), plane = side * side;
        Scalar* const out = context.arena().template take<Scalar>(3 * plane * static_cast<std::size_t>(batch));
        if (!context.planning())
            parallel_for(context.executor(), batch * config_.image_size, [&](int index, int) {
                std::size_t const row = static_cast<std::size_t>(index), image = row / side;
                Scalar const* const from = images + 3 * plane * image + row % side * side;
                Scalar* to = out + 3 * side * row;
                for (std::size_t x = 0; x < side; ++x)
                    for (std::size_t channel = 0; channel < 3; ++channel) *to++ = from[channel * plane + x];
            });
        return out;
    }

    /// Same size, no bias.
    Variable<Scalar> conv(Tape<C>& tape, int batch, int kernel, Variable<Scalar> x, Linear<C> const& l) const {
        C& context = tape.context();
        Variable<Scalar> y = tape.make(x.rows, l.out(), x.grad || l.weight.grad);
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
                                                                                                 x.grad, l.weight.grad, nullptr});
            });
        return y;
    }

    VitConfig config_;
    Linear<C> patch_embed_;
    Leaf<Scalar> pos_embed_;
    std::deque<Block> blocks_;
    Linear<C> conv1_, conv2_;
    LayerNorm<C> norm1_, norm2_;
};

}  // namespace samed::train
