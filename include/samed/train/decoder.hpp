// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <deque>
#include <string>

#include <samed/config/model_config.hpp>
#include <samed/nn/position_embedding.hpp>
#include <samed/train/network_reader.hpp>
#include <samed/train/operations.hpp>

namespace samed::train {

/// The empty prompt and the mask decoder: all of it learns.
/// @source Segment Anything, appendix A "Lightweight mask decoder"; SAMed, section 3.3
template <TrainingBackend C>
class Decoder {
public:
    using Scalar = typename C::Scalar;

    Result<void> load(NetworkReader<C>& reader, ModelConfig const& config) {
        width_ = config.encoder.neck_width;
        grid_ = config.encoder.grid();
        masks_ = config.decoder.mask_tokens;
        SAMED_CHECK(load_prompts(reader, config.prompt.mask_channels));
        std::string const root = "mask_decoder.", transformer = root + "transformer.";
        int const c = width_, mlp = config.decoder.mlp_width;
        SAMED_TRY(iou_token_, reader.learning(root + "iou_token.weight", {1, c}));
        SAMED_TRY(mask_tokens_, reader.learning(root + "mask_tokens.weight", {masks_, c}));
        for (int i = 0; i < config.decoder.depth; ++i) {
            Layer& l = layers_.emplace_back();
            std::string const name = transformer + "layers." + std::to_string(i);
            SAMED_CHECK(load_attention(reader, l.self_attn, name + ".self_attn", c, config.decoder.heads));
            SAMED_CHECK(load_attention(reader, l.token_to_image, name + ".cross_attn_token_to_image", c / 2, config.decoder.heads));
            SAMED_CHECK(load_attention(reader, l.image_to_token, name + ".cross_attn_image_to_token", c / 2, config.decoder.heads));
            for (int j = 0; j < 4; ++j)
                SAMED_CHECK(reader.trained_norm(l.norms[std::size_t(j)], name + ".norm" + std::to_string(j + 1), c, 1e-5));
            SAMED_CHECK(reader.trained_linear(l.lin1, name + ".mlp.lin1", c, mlp));
            SAMED_CHECK(reader.trained_linear(l.lin2, name + ".mlp.lin2", mlp, c));
        }
        SAMED_CHECK(load_attention(reader, final_attn_, transformer + "final_attn_token_to_image", c / 2, config.decoder.heads));
        SAMED_CHECK(reader.trained_norm(norm_final_, transformer + "norm_final_attn", c, 1e-5));
        SAMED_CHECK(reader.trained_conv_transpose(upscale1_, root + "output_upscaling.0", c, c / 4));
        SAMED_CHECK(reader.trained_norm(upscale_norm_, root + "output_upscaling.1", c / 4, 1e-6));
        SAMED_CHECK(reader.trained_conv_transpose(upscale2_, root + "output_upscaling.3", c / 4, c / 8));
        for (int m = 0; m < masks_; ++m) {
            std::string const name = root + "output_hypernetworks_mlps." + std::to_string(m) + ".layers.";
            auto& mlp3 = hypernetworks_.emplace_back();
            for (int j = 0; j < 3; ++j)
                SAMED_CHECK(reader.trained_linear(mlp3[std::size_t(j)], name + std::to_string(j), c, j < 2 ? c : c / 8));
        }
        for (int j = 0; j < 3; ++j) {
            std::string const name = root + "iou_prediction_head.layers." + std::to_string(j);
            int const out = j < 2 ? c : masks_;
            SAMED_CHECK(reader.keep(name + ".weight", {out, c}, c));
            SAMED_CHECK(reader.keep(name + ".bias", {out}, c));
        }
        return {};
    }

    int masks() const { return masks_; }
    int low_res_side() const { return 4 * grid_; }

    /// low_res_logits [B * M, 4 grid * 4 grid] of image embeddings [B, grid, grid, C].
    Variable<Scalar> operator()(Tape<C>& tape, int batch, Variable<Scalar> embedding) const {
        std::int64_t const image = std::int64_t{grid_} * grid_ * width_;
        Variable<Scalar> const tokens = repeat_tokens(tape, batch);
        Variable<Scalar> queries = tokens, keys = add_repeated(tape, embedding, no_mask_embed_, width_);
        auto const with_pe = [&](Variable<Scalar> x) { return add_repeated(tape, x, image_pe_, image); };
        for (std::size_t i = 0; i < layers_.size(); ++i) {
            Layer const& l = layers_[i];
            if (i == 0) {  // the tokens are their own position: no PE and no residual
                queries = attend(tape, batch, l.self_attn, queries, queries, queries);
            } else {
                Variable<Scalar> const q = add_variable(tape, queries, tokens);
                queries = attend(tape, batch, l.self_attn, q, q, queries, queries);
            }
            queries = layer_norm(tape, queries, l.norms[0]);
            Variable<Scalar> const k = with_pe(keys);
            queries = attend(tape, batch, l.token_to_image, add_variable(tape, queries, tokens), k, keys, queries);
            queries = layer_norm(tape, queries, l.norms[1]);
            queries = linear(tape, linear_activated(tape, queries, l.lin1, Activation::relu), l.lin2, queries);
            queries = layer_norm(tape, queries, l.norms[2]);
            keys = attend(tape, batch, l.image_to_token, k, add_variable(tape, queries, tokens), queries, keys);
            keys = layer_norm(tape, keys, l.norms[3]);
        }
        queries = attend(tape, batch, final_attn_, add_variable(tape, queries, tokens), with_pe(keys), keys, queries);
        queries = layer_norm(tape, queries, norm_final_);

        Variable<Scalar> up =
            layer_norm(tape, upscale(tape, batch, grid_, keys, upscale1_, upscale1_.bias), upscale_norm_, Activation::gelu);
        up = upscale(tape, batch, 2 * grid_, up, upscale2_, {});  // [B, 4g, 4g, C / 8]
        up = add_repeated(tape, up, upscale2_.bias, width_ / 8, Activation::gelu);
        return masks_of(tape, batch, hyper(tape, batch, queries), up);
    }

private:
    struct Layer {
        Attention<C> self_attn, token_to_image, image_to_token;
        std::array<LayerNorm<C>, 4> norms;
        Linear<C> lin1, lin2;
    };

    Result<void> load_prompts(NetworkReader<C>& reader, int mask_channels) {
        std::string const name = "prompt_encoder.", down = name + "mask_downscaling.",
                          gaussian = name + "pe_layer.positional_encoding_gaussian_matrix";
        int const c = width_, half = mask_channels / 4;
        SAMED_CHECK(reader.keep(gaussian, {2, c / 2}));
        KeptTensor& matrix = reader.memory().kept.back();
        matrix.always_f32 = true;
        image_pe_ = {reader.memory().freeze(nn::PositionEmbedding(matrix.values).dense(grid_)), nullptr};
        for (int i = 0; i < 4; ++i) SAMED_CHECK(reader.keep(name + "point_embeddings." + std::to_string(i) + ".weight", {1, c}));
        SAMED_CHECK(reader.keep(name + "not_a_point_embed.weight", {1, c}));
        SAMED_TRY(no_mask_embed_, reader.learning(name + "no_mask_embed.weight", {1, c}));
        auto const keep = [&](char const* layer, std::initializer_list<int> shape, int out) -> Result<void> {
            SAMED_CHECK(reader.keep(down + layer + ".weight", shape));
            return reader.keep(down + layer + ".bias", {out});
        };
        SAMED_CHECK(keep("0", {half, 1, 2, 2}, half));
        SAMED_CHECK(keep("1", {half}, half));
        SAMED_CHECK(keep("3", {mask_channels, half, 2, 2}, mask_channels));
        SAMED_CHECK(keep("4", {mask_channels}, mask_channels));
        return keep("6", {c, mask_channels, 1, 1}, c);
    }
    Result<void> load_attention(NetworkReader<C>& reader, Attention<C>& a, std::string const& name, int inner, int heads) {
        a.heads = heads;
        SAMED_CHECK(reader.trained_linear(a.q, name + ".q_proj", width_, inner));
        SAMED_CHECK(reader.trained_linear(a.k, name + ".k_proj", width_, inner));
        SAMED_CHECK(reader.trained_linear(a.v, name + ".v_proj", width_, inner));
        return reader.trained_linear(a.out, name + ".out_proj", inner, width_);
    }

    int token_count() const { return 1 + masks_; }

    /// [iou token, mask tokens] for every image of the batch.
    Variable<Scalar> repeat_tokens(Tape<C>& tape, int batch) const {
        C& context = tape.context();
        Variable<Scalar> y = tape.make(batch * token_count(), width_, true);
        std::int64_t const one = width_, rest = std::int64_t{masks_} * width_;
        for (int b = 0; b < batch; ++b) {
            context.copy(one, iou_token_.value, y.value + b * (one + rest));
            context.copy(rest, mask_tokens_.value, y.value + b * (one + rest) + one);
        }
        if (y.grad)
            tape.on_backward([this, &context, y, batch, one, rest] {
                for (int b = 0; b < batch; ++b) {
                    detail::accumulate(context, one, iou_token_.grad, y.grad + b * (one + rest));
                    detail::accumulate(context, rest, mask_tokens_.grad, y.grad + b * (one + rest) + one);
                }
            });
        return y;
    }

    /// Transposed convolution [B, side, side, in] to [B, 2 side, 2 side, out].
    /// @param bias  {} leaves it to the activation
    Variable<Scalar> upscale(Tape<C>& tape, int batch, int side, Variable<Scalar> x, Linear<C> const& l, Leaf<Scalar> bias) const {
        C& context = tape.context();
        Variable<Scalar> y = tape.make(4 * x.rows, l.out() / 4, true);
        kernels::ConvTranspose2dArgs<Scalar, typename C::Matrix> a;
        a.batch = batch;
        a.height = a.width = side;
        a.channels = x.width;
        a.out_channels = y.width;
        a.x = x.value;
        a.weight = l.packed.forward(context);
        a.bias = bias.value;
        a.out = y.value;
        conv_transpose2d(context, a);
        if (y.grad)
            tape.on_backward([&context, &l, a, x, y, bias] {
                conv_transpose2d_backward(context, kernels::ConvTranspose2dBackwardArgs<Scalar, typename C::Matrix>{
                                                       a, l.packed.transposed(context), y.grad, x.grad, l.weight.grad, bias.grad});
            });
        return y;
    }

    /// Each mask token through its own MLP: [B * M, C / 8].
    Variable<Scalar> hyper(Tape<C>& tape, int batch, Variable<Scalar> queries) const {
        Variable<Scalar> all = tape.make(batch * masks_, width_ / 8, true);
        for (int m = 0; m < masks_; ++m) {
            auto const& layers = hypernetworks_[std::size_t(m)];
            Variable<Scalar> x = tape.make(batch, width_, true);
            move_rows(tape, batch, queries, 1 + m, token_count(), x, 0, 1);
            x = linear_activated(tape, linear_activated(tape, x, layers[0], Activation::relu), layers[1], Activation::relu);
            move_rows(tape, batch, linear(tape, x, layers[2]), 0, 1, all, m, masks_);
        }
        return all;
    }

    /// to[to_first + i to_step] = from[from_first + i from_step], rows
    static void move_rows(Tape<C>& tape, int count, Variable<Scalar> from, int from_first, int from_step, Variable<Scalar> to, int to_first,
                          int to_step) {
        C& context = tape.context();
        auto const each = [=](auto&& move) {
            for (int i = 0; i < count; ++i)
                move(std::int64_t{from_first + i * from_step} * from.width, std::int64_t{to_first + i * to_step} * to.width);
        };
        each([&](std::int64_t source, std::int64_t target) { context.copy(from.width, from.value + source, to.value + target); });
        tape.on_backward([&context, from, to, each] {
            each([&](std::int64_t source, std::int64_t target) {
                detail::accumulate(context, from.width, from.grad + source, to.grad + target);
            });
        });
    }

    /// [B * M, pixels]: the dot product of every vector with every pixel.
    Variable<Scalar> masks_of(Tape<C>& tape, int batch, Variable<Scalar> vectors, Variable<Scalar> up) const {
        C& context = tape.context();
        int const pixels = up.rows / batch;
        Variable<Scalar> y = tape.make(batch * masks_, pixels, true);
        kernels::MaskProductArgs<Scalar> const a{batch, masks_, pixels, up.width, vectors.value, up.value, y.value};
        mask_product(context, a);
        if (y.grad)
            tape.on_backward([&context, a, vectors, up, y] {
                mask_product_backward(context, kernels::MaskProductBackwardArgs<Scalar>{a, y.grad, vectors.grad, up.grad});
            });
        return y;
    }

    int width_ = 0, grid_ = 0, masks_ = 0;
    Leaf<Scalar> no_mask_embed_, image_pe_, iou_token_, mask_tokens_;
    std::deque<Layer> layers_;
    Attention<C> final_attn_;
    LayerNorm<C> norm_final_, upscale_norm_;
    Linear<C> upscale1_, upscale2_;
    std::deque<std::array<Linear<C>, 3>> hypernetworks_;
};

}  // namespace samed::train
