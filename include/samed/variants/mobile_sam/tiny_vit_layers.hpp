// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <samed/adapters/adapter.hpp>
#include <samed/nn/conv2d.hpp>
#include <samed/nn/layer_norm.hpp>
#include <samed/nn/mlp.hpp>

namespace samed::variants::mobile_sam {

using adapters::GridInfo;
using kernels::Activation;

/// A backend on which TinyViT runs.
template <class C>
concept TinyVitBackend = Backend<C> && HasDepthwiseConv2d<C>;

/// Two convolutions: of kernel 3, each halving the sides (MobileSAM), or of kernel 1, which keep them (LiteMedSAM).
template <TinyVitBackend C>
class Stem {
public:
    using Scalar = typename C::Scalar;

    static Result<Stem> load(WeightLoader<C>& loader, std::string const& name) {
        Stem s;
        SAMED_TRY(int const middle, loader.size(name + ".seq.0.weight", 0));
        SAMED_TRY(int const out, loader.size(name + ".seq.2.weight", 0));
        SAMED_TRY(int const kernel, loader.size(name + ".seq.0.weight", 3));
        s.stride_ = kernel == 1 ? 1 : 2;
        SAMED_TRY(s.conv1_, nn::Conv2d<C>::load(loader, name + ".seq.0", {3, middle, kernel == 1 ? 1 : 3, s.stride_, kernel == 1 ? 0 : 1}));
        SAMED_TRY(s.conv2_,
                  nn::Conv2d<C>::load(loader, name + ".seq.2", {middle, out, kernel == 1 ? 1 : 3, s.stride_, kernel == 1 ? 0 : 1}));
        return s;
    }

    int width() const { return conv2_.out(); }
    int out_side(int side) const { return side / (stride_ * stride_); }

    /// @param image  [B, 3, S, S]
    /// @param y      [B, out_side(S), out_side(S), C]
    void operator()(C& context, int batch, int side, Scalar const* image, Scalar* y) const {
        Arena::Frame frame(context.arena());
        int const half = side / stride_;
        Scalar* middle = context.arena().template take<Scalar>(std::size_t(batch) * half * half * conv1_.out());
        conv1_.planar(context, batch, side, side, image, middle, Activation::gelu);
        conv2_(context, batch, half, half, middle, y);
    }

private:
    nn::Conv2d<C> conv1_, conv2_;
    int stride_ = 2;
};

/// Pointwise, depthwise, pointwise: the body of MBConv (which adds its input) and of patch merging (which changes size).
template <TinyVitBackend C>
class Bottleneck {
public:
    using Scalar = typename C::Scalar;

    /// Reads `<name>.conv{1,2,3}`; their widths are the file's.
    static Result<Bottleneck> load(WeightLoader<C>& loader, std::string const& name, int in, int stride) {
        Bottleneck b;
        SAMED_TRY(int const hidden, loader.size(name + ".conv1.weight", 0));
        SAMED_TRY(int const out, loader.size(name + ".conv3.weight", 0));
        SAMED_TRY(b.expand_, nn::Conv2d<C>::load(loader, name + ".conv1", {in, hidden}));
        SAMED_TRY(b.depthwise_, nn::DepthwiseConv2d<C>::load(loader, name + ".conv2", hidden, stride));
        SAMED_TRY(b.project_, nn::Conv2d<C>::load(loader, name + ".conv3", {hidden, out}));
        return b;
    }

    int out() const { return project_.out(); }
    int out_side(int side) const { return depthwise_.out_side(side); }

    /// @param x  [B, side, side, in]
    /// @param y  [B, side', side', out]; may be `x` when the sizes are the same
    void operator()(C& context, int batch, int side, Scalar const* x, Scalar* y) const {
        Arena::Frame frame(context.arena());
        int const to = out_side(side);
        Scalar* expanded = context.arena().template take<Scalar>(std::size_t(batch) * side * side * expand_.out());
        Scalar* filtered = context.arena().template take<Scalar>(std::size_t(batch) * to * to * expand_.out());
        expand_(context, batch, side, side, x, expanded, Activation::gelu);
        depthwise_(context, batch, side, side, expanded, filtered, Activation::gelu);
        project_(context, batch, to, to, filtered, y);
    }

    /// x = gelu(x + body(x)): MBConv.
    void residual(C& context, int batch, int side, Scalar* x) const {
        Arena::Frame frame(context.arena());
        std::int64_t const count = std::int64_t{batch} * side * side * out();
        Scalar* y = context.arena().template take<Scalar>(static_cast<std::size_t>(count));
        (*this)(context, batch, side, x, y);
        add(context, kernels::AddArgs<Scalar>{count, count, x, y, x, Activation::gelu});
    }

private:
    nn::Conv2d<C> expand_, project_;
    nn::DepthwiseConv2d<C> depthwise_;
};

/// x += attention(norm(x)) in windows; x = depthwise(x); x += mlp(norm(x)).
///
/// TinyViT pads windows before the norm: a padded token is the norm's bias, and its key and value follow from that once at load.
/// @source Wu et al. 2022 (TinyViT), section 3 and appendix; LayerNorms with the framework's eps
template <TinyVitBackend C>
class TinyVitBlock {
public:
    using Scalar = typename C::Scalar;
    static constexpr double eps = 1e-5;

    /// Reads `<name>.{attn,local_conv,mlp}`. `attn.qkv` holds q of all heads, then k, then v: `samed convert` has sorted them.
    static Result<TinyVitBlock> load(WeightLoader<C>& loader, std::string const& name, int width) {
        TinyVitBlock b;
        b.width_ = width;
        std::string const attn = name + ".attn", biases = attn + ".attention_biases";
        SAMED_TRY(b.heads_, loader.size(biases, 0));
        SAMED_TRY(int const offsets, loader.size(biases, 1));
        b.window_ = static_cast<int>(std::lround(std::sqrt(static_cast<double>(offsets))));
        if (b.window_ * b.window_ != offsets || width % b.heads_ != 0)
            return fail(ErrorCode::shape_mismatch, biases, text() << "a divisor of " << width << " heads, a square of offsets",
                        text() << b.heads_ << " x " << offsets)
                .in(loader.file().path());
        SAMED_CHECK(loader.check_head_dim(attn, width / b.heads_));
        SAMED_TRY(int const hidden, loader.size(name + ".mlp.fc1.weight", 0));
        SAMED_TRY(b.norm1_, nn::LayerNorm<C>::load(loader, attn + ".norm", width, eps));
        SAMED_TRY(b.qkv_, nn::Linear<C>::load(loader, attn + ".qkv", width, 3 * width));
        SAMED_TRY(b.proj_, nn::Linear<C>::load(loader, attn + ".proj", width, width));
        SAMED_TRY(b.bias_table_, loader.vector(biases, {b.heads_, offsets}));
        SAMED_TRY(b.pad_, load_padding(loader, attn, width));
        SAMED_TRY(b.local_conv_, nn::DepthwiseConv2d<C>::load(loader, name + ".local_conv", width));
        SAMED_TRY(b.norm2_, nn::LayerNorm<C>::load(loader, name + ".mlp.norm", width, eps));
        SAMED_TRY(b.mlp_, nn::Mlp<C>::load(loader, name + ".mlp", width, hidden, Activation::gelu, {"fc1", "fc2"}));
        return b;
    }

    /// @param x  [B, H, W, C], in and out
    void operator()(C& context, GridInfo grid, Scalar* x) const {
        Arena& arena = context.arena();
        Arena::Frame frame(arena);
        int const tokens = grid.tokens();
        std::size_t const count = std::size_t(tokens) * width_;
        Scalar* y = arena.template take<Scalar>(count);
        Scalar* attended = arena.template take<Scalar>(count);
        norm1_(context, tokens, x, y);
        attend(context, grid, y, attended);
        auto project = proj_.args(tokens, attended, y);
        project.residual = x;
        project.residual_stride = width_;
        gemm(context, project);
        local_conv_(context, grid.batch, grid.height, grid.width, y, x);
        norm2_(context, tokens, x, y);
        mlp_.add_to(context, tokens, y, x);
    }

private:
    /// Key and value of a padded token: those rows of qkv applied to the norm's bias.
    static Result<Scalar const*> load_padding(WeightLoader<C>& loader, std::string const& attn, int width) {
        SAMED_TRY(std::vector<float> const beta, loader.host(attn + ".norm.bias", {width}));
        SAMED_TRY(std::vector<float> const weight, loader.host(attn + ".qkv.weight", {3 * width, width}));
        SAMED_TRY(std::vector<float> const bias, loader.host(attn + ".qkv.bias", {3 * width}));
        std::size_t const c = std::size_t(width);
        std::vector<float> pad(2 * c);
        for (std::size_t i = 0; i < 2 * c; ++i) {
            double sum = bias[c + i];
            for (std::size_t k = 0; k < c; ++k) sum += double{weight[(c + i) * c + k]} * double{beta[k]};
            pad[i] = static_cast<float>(sum);
        }
        return loader.place(pad);
    }

    void attend(C& context, GridInfo grid, Scalar const* x, Scalar* y) const {
        Arena::Frame frame(context.arena());
        Scalar* qkv = context.arena().template take<Scalar>(std::size_t(grid.tokens()) * 3 * width_);
        qkv_(context, grid.tokens(), x, qkv);
        kernels::ImageAttentionArgs<Scalar> a;
        a.batch = grid.batch;
        a.height = grid.height;
        a.width = grid.width;
        a.heads = heads_;
        a.head_dim = width_ / heads_;
        a.window = window_;
        a.qkv = qkv;
        a.bias_table = bias_table_;
        a.pad_key = pad_;
        a.pad_value = pad_ + width_;
        a.scale = kernels::attention_scale<Scalar>(a.head_dim);
        a.out = y;
        image_attention(context, a);
    }

    int width_ = 0, heads_ = 1, window_ = 0;
    nn::LayerNorm<C> norm1_, norm2_;
    nn::Linear<C> qkv_, proj_;
    Scalar const* bias_table_ = nullptr;  // [heads, window * window]
    Scalar const* pad_ = nullptr;         // key, value
    nn::DepthwiseConv2d<C> local_conv_;
    nn::Mlp<C> mlp_;
};

}  // namespace samed::variants::mobile_sam
