// SPDX-License-Identifier: Apache-2.0
// Ops on a tape: each runs its kernel and notes the backward pass.
#pragma once

#include <cmath>

#include <samed/train/layers.hpp>

namespace samed::train {

using kernels::Activation;

namespace detail {

/// to += from, both [count].
template <TrainingBackend C, class T>
void accumulate(C& context, std::int64_t count, T* to, T const* from) {
    add(context, kernels::AddArgs<T>{count, count, to, from, to});
}

/// to += from W, the input's gradient of a linear layer.
template <TrainingBackend C, class T>
void add_product(C& context, int rows, T const* from, std::int64_t from_stride, typename C::Matrix transposed, T* to) {
    kernels::GemmArgs<T, typename C::Matrix> g;
    g.m = rows;
    g.n = transposed.n;
    g.k = transposed.k;
    g.a = from;
    g.a_stride = from_stride;
    g.weight = transposed;
    g.residual = g.out = to;
    g.residual_stride = g.out_stride = transposed.n;
    gemm(context, g);
}

/// y = x W^T [+ bias] [+ residual]
template <TrainingBackend C, class T = typename C::Scalar>
Variable<T> product(Tape<C>& tape, Variable<T> x, Linear<C> const& l, Leaf<T> bias, Variable<T> residual) {
    C& context = tape.context();
    Variable<T> y = tape.make(x.rows, l.out(), x.grad || residual.grad || l.weight.grad || bias.grad);
    kernels::GemmArgs<T, typename C::Matrix> g;
    g.m = x.rows;
    g.n = l.out();
    g.k = l.in();
    g.a = x.value;
    g.a_stride = x.width;
    g.weight = l.packed.forward(context);
    g.bias = bias.value;
    g.residual = residual.value;
    g.residual_stride = g.out_stride = l.out();
    g.out = y.value;
    gemm(context, g);
    if (!y.grad) return y;
    tape.on_backward([&context, &l, x, y, bias, residual] {
        if (residual.grad) accumulate(context, y.count(), residual.grad, y.grad);
        if (x.grad) add_product(context, x.rows, y.grad, y.width, l.packed.transposed(context), x.grad);
        gemm_backward(context,
                      kernels::GemmBackwardArgs<T>{x.rows, y.width, x.width, x.value, x.width, y.grad, y.width, l.weight.grad, bias.grad});
    });
    return y;
}

}  // namespace detail

/// y = x W^T + b [+ residual]
template <TrainingBackend C, class T = typename C::Scalar>
Variable<T> linear(Tape<C>& tape, Variable<T> x, Linear<C> const& l, Variable<T> residual = {}) {
    return detail::product(tape, x, l, l.bias, residual);
}

/// y = activation(x + b), b repeated. `b` may be a bias, a broadcast embedding, or another variable's whole array.
template <TrainingBackend C, class T = typename C::Scalar>
Variable<T> add_repeated(Tape<C>& tape, Variable<T> x, Leaf<T> b, std::int64_t period, Activation activation = Activation::none) {
    C& context = tape.context();
    Variable<T> y = tape.make(x.rows, x.width, x.grad || b.grad);
    kernels::AddArgs<T> const args{x.count(), period, x.value, b.value, y.value, activation};
    add(context, args);
    if (y.grad)
        tape.on_backward([&context, args, x, y, b] { add_backward(context, kernels::AddBackwardArgs<T>{args, y.grad, x.grad, b.grad}); });
    return y;
}
template <TrainingBackend C, class T = typename C::Scalar>
Variable<T> add_variable(Tape<C>& tape, Variable<T> x, Variable<T> z) {
    return add_repeated(tape, x, Leaf<T>{z.value, z.grad}, x.count());
}

/// activation(x W^T + b): the bias enters with the activation, whose argument backward needs.
template <TrainingBackend C, class T = typename C::Scalar>
Variable<T> linear_activated(Tape<C>& tape, Variable<T> x, Linear<C> const& l, Activation activation) {
    return add_repeated(tape, detail::product(tape, x, l, Leaf<T>{}, Variable<T>{}), l.bias, l.out(), activation);
}

template <TrainingBackend C, class T = typename C::Scalar>
Variable<T> layer_norm(Tape<C>& tape, Variable<T> x, LayerNorm<C> const& l, Activation activation = Activation::none) {
    C& context = tape.context();
    Variable<T> y = tape.make(x.rows, x.width, x.grad || l.weight.grad || l.bias.grad);
    T* const statistics = y.grad ? tape.arena().template take<T>(std::size_t(2) * x.rows) : nullptr;
    kernels::LayerNormArgs<T> const args{x.rows, x.width, x.value,    l.weight.value, l.bias.value,
                                         l.eps,  y.value, activation, statistics,     statistics ? statistics + x.rows : nullptr};
    layer_norm(context, args);
    if (y.grad)
        tape.on_backward([&context, &l, args, x, y] {
            layer_norm_backward(context, kernels::LayerNormBackwardArgs<T>{args, y.grad, x.grad, l.weight.grad, l.bias.grad});
        });
    return y;
}

/// softmax(q k^T / sqrt(head_dim)) v of `batch` images.
template <TrainingBackend C, class T = typename C::Scalar>
Variable<T> token_attention(Tape<C>& tape, int batch, int heads, Variable<T> q, Variable<T> k, Variable<T> v) {
    C& context = tape.context();
    Variable<T> y = tape.make(q.rows, q.width, q.grad || k.grad || v.grad);
    kernels::AttentionArgs<T> a;
    a.batch = batch;
    a.heads = heads;
    a.head_dim = q.width / heads;
    a.queries = q.rows / batch;
    a.keys = k.rows / batch;
    a.q = q.value;
    a.k = k.value;
    a.v = v.value;
    a.q_stride = a.k_stride = a.v_stride = q.width;
    a.scale = T(1) / std::sqrt(T(a.head_dim));
    a.out = y.value;
    a.log_sum_exp = y.grad ? tape.arena().template take<T>(std::size_t(q.rows) * heads) : nullptr;
    attention(context, a);
    if (y.grad) {
        SAMED_ASSERT(q.grad && k.grad && v.grad);
        tape.on_backward([&context, a, q, k, v, y] {
            attention_backward(context, kernels::AttentionBackwardArgs<T>{a, y.grad, q.grad, k.grad, v.grad});
        });
    }
    return y;
}

/// Projections, attention, and back: y = attention(q, k, v) W^T + b [+ residual].
template <TrainingBackend C, class T = typename C::Scalar>
Variable<T> attend(Tape<C>& tape, int batch, Attention<C> const& l, Variable<T> q, Variable<T> k, Variable<T> v,
                   Variable<T> residual = {}) {
    Variable<T> const attended = token_attention(tape, batch, l.heads, linear(tape, q, l.q), linear(tape, k, l.k), linear(tape, v, l.v));
    return linear(tape, attended, l.out, residual);
}

/// [tokens, 3C] of x: frozen projections with LoRA on q and v.
/// @source LoRA (Hu et al. 2021), section 4.1
template <TrainingBackend C, class T = typename C::Scalar>
Variable<T> lora_qkv(Tape<C>& tape, Variable<T> x, ImageAttention<C> const& l) {
    C& context = tape.context();
    int const c = x.width, rank = l.q.a.out();
    Variable<T> y = tape.make(x.rows, 3 * c, true);
    T* const low[] = {tape.arena().template take<T>(std::size_t(x.rows) * rank), nullptr,
                      tape.arena().template take<T>(std::size_t(x.rows) * rank)};
    LoraLinear<C> const* const parts[] = {&l.q, &l.k, &l.v};
    for (int part = 0; part < 3; ++part) {
        kernels::GemmArgs<T, typename C::Matrix> g;
        g.m = x.rows;
        g.k = c;
        g.a = x.value;
        g.a_stride = c;
        if (low[part]) {
            g.n = rank;
            g.weight = parts[part]->a.packed.forward(context);
            g.out = low[part];
            g.out_stride = rank;
            gemm(context, g);
            g.tail = {low[part], rank, parts[part]->b.packed.forward(context), rank};
        }
        g.n = c;
        g.weight = parts[part]->packed.forward(context);
        g.bias = l.bias.value + std::int64_t{part} * c;
        g.out = y.value + std::int64_t{part} * c;
        g.out_stride = 3 * std::int64_t{c};
        gemm(context, g);
    }
    if (!y.grad) return y;
    tape.on_backward([&context, &l, x, y, c, rank, low_q = low[0], low_v = low[2]] {
        std::int64_t const stride = 3 * std::int64_t{c};
        if (x.grad) detail::add_product(context, x.rows, y.grad + c, stride, l.k.packed.transposed(context), x.grad);
        for (bool const is_q : {true, false}) {
            LoraLinear<C> const& part = is_q ? l.q : l.v;
            T const* const grad = y.grad + (is_q ? 0 : 2 * std::int64_t{c});
            Arena::Frame frame(context.arena());
            T* const low_grad = context.arena().template take<T>(std::size_t(x.rows) * rank);  // grad B
            kernels::GemmArgs<T, typename C::Matrix> g;
            g.m = x.rows;
            g.n = rank;
            g.k = c;
            g.a = grad;
            g.a_stride = stride;
            g.weight = part.b.packed.transposed(context);
            g.out = low_grad;
            g.out_stride = rank;
            gemm(context, g);
            gemm_backward(context, kernels::GemmBackwardArgs<T>{x.rows, c, rank, is_q ? low_q : low_v, rank, grad, stride,
                                                                part.b.weight.grad, nullptr});
            gemm_backward(context, kernels::GemmBackwardArgs<T>{x.rows, rank, c, x.value, c, low_grad, rank, part.a.weight.grad, nullptr});
            if (!x.grad) continue;
            g.n = c;
            g.weight = part.packed.transposed(context);
            g.tail = {low_grad, rank, part.a.packed.transposed(context), rank};
            g.residual = g.out = x.grad;
            g.residual_stride = g.out_stride = c;
            gemm(context, g);
        }
    });
    return y;
}

/// Windowed or global self attention of [B, H, W, 3C].
template <TrainingBackend C, class T = typename C::Scalar>
Variable<T> image_attend(Tape<C>& tape, int batch, int height, int width, Variable<T> qkv, ImageAttention<C> const& l) {
    C& context = tape.context();
    int const c = qkv.width / 3;
    Variable<T> y = tape.make(qkv.rows, c, qkv.grad);
    kernels::ImageAttentionArgs<T> a;
    a.batch = batch;
    a.height = height;
    a.width = width;
    a.heads = l.heads;
    a.head_dim = c / l.heads;
    a.window = l.window;
    a.qkv = qkv.value;
    a.rel_pos_h = l.rel_pos_h.value;
    a.rel_pos_w = l.rel_pos_w.value;
    a.pad_key = l.bias.value + c;
    a.pad_value = l.bias.value + 2 * std::int64_t{c};
    a.scale = T(1) / std::sqrt(T(a.head_dim));
    a.out = y.value;
    a.log_sum_exp = y.grad ? tape.arena().template take<T>(std::size_t(qkv.rows) * l.heads) : nullptr;
    image_attention(context, a);
    if (y.grad)
        tape.on_backward([&context, &l, a, qkv, y, c] {
            T* const pads = l.bias.grad;  // padded tokens are the bias alone
            image_attention_backward(
                context, kernels::ImageAttentionBackwardArgs<T>{a, y.grad, qkv.grad, l.rel_pos_h.grad, l.rel_pos_w.grad,
                                                                pads ? pads + c : nullptr, pads ? pads + 2 * std::int64_t{c} : nullptr});
        });
    return y;
}

}  // namespace samed::train
