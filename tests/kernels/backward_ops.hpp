// SPDX-License-Identifier: Apache-2.0
// Ops as check_backward runs them.
#pragma once

#include "backward_fixture.hpp"

namespace kernel_test {

struct Gemm {  // inputs: a [m, k], weight [n, k], bias [n]
    int m, n, k;
    template <class C, class T>
    std::vector<T> forward(C& c, Arrays<T> const& in) const {
        RuntimeWeight<C, T> const weight(c, n, k, in[1].data(), false);
        std::vector<T> out(std::size_t(m) * n);
        kernels::GemmArgs<T, typename C::Matrix> g;
        g.m = m, g.n = n, g.k = k;
        g.a = in[0].data(), g.a_stride = k, g.weight = weight.matrix(c), g.bias = in[2].data();
        g.out = out.data(), g.out_stride = n;
        gemm(c, g);
        return out;
    }
    template <class C, class T>
    void backward(C& c, Arrays<T> const& in, std::vector<T> const& grad_out, Arrays<T>& grads) const {
        RuntimeWeight<C, T> const transposed(c, k, n, in[1].data(), true);
        kernels::GemmArgs<T, typename C::Matrix> g;
        g.m = m, g.n = k, g.k = n;
        g.a = grad_out.data(), g.a_stride = n, g.weight = transposed.matrix(c);
        g.residual = g.out = grads[0].data(), g.residual_stride = g.out_stride = k;
        gemm(c, g);
        gemm_backward(c, kernels::GemmBackwardArgs<T>{m, n, k, in[0].data(), k, grad_out.data(), n, grads[1].data(), grads[2].data()});
    }
};

/// The bias with the activation, as layers train it.
struct GemmActivated {  // inputs: a [m, k], weight [n, k], bias [n]
    int m, n, k;
    Activation activation;
    template <class C, class T>
    void backward(C& c, Arrays<T> const& in, std::vector<T> const& grad_out, Arrays<T>& grads) const {
        Gemm const product{m, n, k};
        std::vector<T> const z = product.forward(c, Arrays<T>{in[0], in[1], std::vector<T>(in[2].size())});
        std::vector<T> grad_z(z.size());
        kernels::AddArgs<T> const bias{std::int64_t{m} * n, n, z.data(), in[2].data(), nullptr, activation};
        add_backward(c, kernels::AddBackwardArgs<T>{bias, grad_out.data(), grad_z.data(), grads[2].data()});
        std::vector<T> unused(in[2].size());
        std::swap(grads[2], unused);
        product.backward(c, in, grad_z, grads);
        std::swap(grads[2], unused);
    }
};

struct Add {  // inputs: a [count], b [period]
    std::int64_t count, period;
    Activation activation;
    template <class T>
    kernels::AddArgs<T> args(Arrays<T> const& in) const {
        return {count, period, in[0].data(), in[1].data(), nullptr, activation};
    }
    template <class C, class T>
    std::vector<T> forward(C& c, Arrays<T> const& in) const {
        std::vector<T> out(in[0].size());
        auto a = args(in);
        a.out = out.data();
        add(c, a);
        return out;
    }
    template <class C, class T>
    void backward(C& c, Arrays<T> const& in, std::vector<T> const& grad_out, Arrays<T>& grads) const {
        add_backward(c, kernels::AddBackwardArgs<T>{args(in), grad_out.data(), grads[0].data(), nullptr});
        add_backward(c, kernels::AddBackwardArgs<T>{args(in), grad_out.data(), nullptr, grads[1].data()});
    }
};

struct Norm {  // inputs: x [rows, width], weight, bias
    int rows, width;
    Activation activation;
    double eps = 1e-5;
    template <class C, class T>
    std::vector<T> run(C& c, Arrays<T> const& in, T* statistics) const {
        std::vector<T> out(in[0].size());
        layer_norm(c, args(in, out.data(), statistics));
        return out;
    }
    template <class T>
    kernels::LayerNormArgs<T> args(Arrays<T> const& in, T* out, T* statistics) const {
        return {rows, width, in[0].data(), in[1].data(), in[2].data(), T(eps), out, activation, statistics, statistics + rows};
    }
    template <class C, class T>
    std::vector<T> forward(C& c, Arrays<T> const& in) const {
        std::vector<T> statistics(2 * std::size_t(rows));
        return run(c, in, statistics.data());
    }
    template <class C, class T>
    void backward(C& c, Arrays<T> const& in, std::vector<T> const& grad_out, Arrays<T>& grads) const {
        std::vector<T> statistics(2 * std::size_t(rows));
        run(c, in, statistics.data());
        layer_norm_backward(c, kernels::LayerNormBackwardArgs<T>{args<T>(in, nullptr, statistics.data()), grad_out.data(), grads[0].data(),
                                                                 grads[1].data(), grads[2].data()});
    }
};

struct Conv {  // inputs: x [B, H, W, channels], weight [out, kernel * kernel * channels], bias
    int batch, height, width, channels, out_channels, kernel, stride, padding;
    template <class C, class T>
    kernels::Conv2dArgs<T, typename C::Matrix> args(Arrays<T> const& in) const {
        kernels::Conv2dArgs<T, typename C::Matrix> a;
        a.batch = batch, a.height = height, a.width = width, a.channels = channels, a.out_channels = out_channels;
        a.kernel = kernel, a.stride = stride, a.padding = padding;
        a.x = in[0].data(), a.bias = in[2].data();
        a.channel_stride = 1, a.column_stride = channels, a.row_stride = std::int64_t{width} * channels;
        a.batch_stride = a.row_stride * height;
        return a;
    }
    template <class C, class T>
    std::vector<T> forward(C& c, Arrays<T> const& in) const {
        RuntimeWeight<C, T> const weight(c, out_channels, kernel * kernel * channels, in[1].data(), false);
        auto a = args<C>(in);
        std::vector<T> out(std::size_t(batch) * a.out_height() * a.out_width() * out_channels);
        a.weight = weight.matrix(c);
        a.out = out.data();
        conv2d(c, a);
        return out;
    }
    template <class C, class T>
    void backward(C& c, Arrays<T> const& in, std::vector<T> const& grad_out, Arrays<T>& grads) const {
        RuntimeWeight<C, T> const transposed(c, kernel * kernel * channels, out_channels, in[1].data(), true);
        conv2d_backward(c, kernels::Conv2dBackwardArgs<T, typename C::Matrix>{args<C>(in), transposed.matrix(c), grad_out.data(),
                                                                              grads[0].data(), grads[1].data(), grads[2].data()});
    }
};

struct ConvTranspose {  // inputs: x [B, H, W, channels], weight [4 * out, channels], bias
    int batch, height, width, channels, out_channels;
    template <class C, class T>
    std::vector<T> forward(C& c, Arrays<T> const& in) const {
        RuntimeWeight<C, T> const weight(c, 4 * out_channels, channels, in[1].data(), false);
        std::vector<T> out(std::size_t(4) * batch * height * width * out_channels);
        conv_transpose2d(c,
                         kernels::ConvTranspose2dArgs<T, typename C::Matrix>{batch, height, width, channels, out_channels, in[0].data(),
                                                                             weight.matrix(c), in[2].data(), out.data(), Activation::none});
        return out;
    }
    template <class C, class T>
    void backward(C& c, Arrays<T> const& in, std::vector<T> const& grad_out, Arrays<T>& grads) const {
        RuntimeWeight<C, T> const transposed(c, channels, 4 * out_channels, in[1].data(), true);
        kernels::ConvTranspose2dArgs<T, typename C::Matrix> forward;
        forward.batch = batch, forward.height = height, forward.width = width, forward.channels = channels;
        forward.out_channels = out_channels, forward.x = in[0].data();
        conv_transpose2d_backward(
            c, kernels::ConvTranspose2dBackwardArgs<T, typename C::Matrix>{forward, transposed.matrix(c), grad_out.data(), grads[0].data(),
                                                                           grads[1].data(), grads[2].data()});
    }
};

struct MaskProduct {  // inputs: hyper [B, masks, channels], upscaled [B, pixels, channels]
    int batch, masks, pixels, channels;
    template <class T>
    kernels::MaskProductArgs<T> args(Arrays<T> const& in) const {
        return {batch, masks, pixels, channels, in[0].data(), in[1].data(), nullptr};
    }
    template <class C, class T>
    std::vector<T> forward(C& c, Arrays<T> const& in) const {
        std::vector<T> out(std::size_t(batch) * masks * pixels);
        auto a = args(in);
        a.out = out.data();
        mask_product(c, a);
        return out;
    }
    template <class C, class T>
    void backward(C& c, Arrays<T> const& in, std::vector<T> const& grad_out, Arrays<T>& grads) const {
        mask_product_backward(c, kernels::MaskProductBackwardArgs<T>{args(in), grad_out.data(), grads[0].data(), grads[1].data()});
    }
};

struct Bilinear {  // inputs: x [planes, in_height, in_width]
    int planes, in_height, in_width, out_height, out_width;
    template <class C, class T>
    std::vector<T> forward(C& c, Arrays<T> const& in) const {
        std::vector<T> out(std::size_t(planes) * out_height * out_width);
        bilinear(c, kernels::BilinearArgs<T>{planes, in_height, in_width, out_height, out_width, in[0].data(), out.data()});
        return out;
    }
    template <class C, class T>
    void backward(C& c, Arrays<T> const&, std::vector<T> const& grad_out, Arrays<T>& grads) const {
        kernels::BilinearArgs<T> const forward{planes, in_height, in_width, out_height, out_width, nullptr, nullptr};
        bilinear_backward(c, kernels::BilinearBackwardArgs<T>{forward, grad_out.data(), grads[0].data()});
    }
};

struct TokenAttention {  // inputs: q [B, queries, heads * head_dim], k, v [B, keys, ..]
    int batch, heads, head_dim, queries, keys;
    int width() const { return heads * head_dim; }
    template <class T>
    kernels::AttentionArgs<T> args(Arrays<T> const& in) const {
        T const scale = T(1) / std::sqrt(T(head_dim));
        return {batch,        heads,   head_dim, queries, keys,  in[0].data(), in[1].data(),
                in[2].data(), width(), width(),  width(), scale, nullptr,      nullptr};
    }
    template <class C, class T>
    std::vector<T> forward(C& c, Arrays<T> const& in) const {
        std::vector<T> out(in[0].size());
        auto a = args(in);
        a.out = out.data();
        attention(c, a);
        return out;
    }
    template <class C, class T>
    void backward(C& c, Arrays<T> const& in, std::vector<T> const& grad_out, Arrays<T>& grads) const {
        std::vector<T> out(in[0].size()), lse(std::size_t(batch) * heads * queries);
        auto a = args(in);
        a.out = out.data();
        a.log_sum_exp = lse.data();
        attention(c, a);
        attention_backward(c, kernels::AttentionBackwardArgs<T>{a, grad_out.data(), grads[0].data(), grads[1].data(), grads[2].data()});
    }
};

struct ImageAttention {  // inputs: qkv [B, H, W, 3 * heads * head_dim]; rel_pos_h, rel_pos_w, pad_key, pad_value, fixed if frozen
    int batch, height, width, heads, head_dim, window;
    bool relative = true, frozen = false;
    template <class T>
    kernels::ImageAttentionArgs<T> args(Arrays<T> const& in) const {
        kernels::ImageAttentionArgs<T> a;
        a.batch = batch, a.height = height, a.width = width, a.heads = heads, a.head_dim = head_dim, a.window = window;
        a.qkv = in[0].data();
        if (relative) a.rel_pos_h = in[1].data(), a.rel_pos_w = in[2].data();
        a.pad_key = in[3].data(), a.pad_value = in[4].data();
        a.scale = T(1) / std::sqrt(T(head_dim));
        return a;
    }
    template <class C, class T>
    std::vector<T> forward(C& c, Arrays<T> const& in) const {
        std::vector<T> out(in[0].size() / 3);
        auto a = args(in);
        a.out = out.data();
        image_attention(c, a);
        return out;
    }
    template <class C, class T>
    void backward(C& c, Arrays<T> const& in, std::vector<T> const& grad_out, Arrays<T>& grads) const {
        std::vector<T> out(in[0].size() / 3), lse(std::size_t(batch) * heads * height * width);
        auto a = args(in);
        a.out = out.data();
        a.log_sum_exp = lse.data();
        image_attention(c, a);
        kernels::ImageAttentionBackwardArgs<T> g{a, grad_out.data(), grads[0].data()};
        if (!frozen && relative) g.grad_rel_pos_h = grads[1].data(), g.grad_rel_pos_w = grads[2].data();
        if (!frozen) g.grad_pad_key = grads[3].data(), g.grad_pad_value = grads[4].data();
        image_attention_backward(c, g);
    }
};

}  // namespace kernel_test
