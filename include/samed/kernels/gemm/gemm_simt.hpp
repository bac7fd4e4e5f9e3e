// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/backend/simt_context.hpp>
#include <samed/core/simt_vector.hpp>
#include <samed/kernels/gemm/gemm.hpp>

namespace samed::kernels {

/// out = activation(x) + residual: what a product of the device's library leaves to do.
///
/// @param  x, out    [m, n], rows `x_stride` and `out_stride` apart; `out` may be `x`
/// @param  residual  as in GemmArgs; may be `out`
template <class T>
struct EpilogueArgs {
    int m = 0, n = 0;
    T const* x = nullptr;
    std::int64_t x_stride = 0;
    T const* residual = nullptr;
    std::int64_t residual_stride = 0;
    int residual_rows = 0;
    T* out = nullptr;
    std::int64_t out_stride = 0;
    Activation activation = Activation::none;
};

/// One thread `width` values of a row.
template <class T, int width>
struct EpilogueKernel {
    using Args = EpilogueArgs<T>;
    static constexpr int threads = 256;
    static std::size_t shared_bytes(Args const&) { return 0; }

    template <class S>
    SAMED_DEVICE static void run(S& s, Args const& e) {
        std::int64_t const at = (std::int64_t{s.block_x()} * threads + s.thread()) * width;
        if (at >= std::int64_t{e.m} * e.n) return;
        int const row = static_cast<int>(at / e.n), column = static_cast<int>(at % e.n);
        float x[width];
        simt::read(e.x + row * e.x_stride + column, x);
        if constexpr (std::is_same_v<T, Half>)  // a product below f16 is stored as -infinity, of which GELU would make NaN
            for (int v = 0; v < width; ++v) x[v] = x[v] < -65504.0f ? -65504.0f : x[v];
        for (int v = 0; v < width; ++v) x[v] = activate(e.activation, x[v]);
        if (e.residual) {
            float residual[width];
            simt::read(e.residual + (e.residual_rows ? row % e.residual_rows : row) * e.residual_stride + column, residual);
            for (int v = 0; v < width; ++v) x[v] += residual[v];
        }
        simt::write(x, e.out + row * e.out_stride + column);
    }
};

/// Products of the device's library: the low-rank tail first, then a * weight^T on top of it. A plain residual is what the first one
/// adds to; one behind an activation, or repeated, needs a pass of its own, and the product a place that is not the residual's.
/// Between products and passes values are rounded to T. Weights are what `upload` stored: their `precision` is not looked at.
template <SimtContext C>
void gemm(C& c, GemmArgs<typename C::Scalar, DenseMatrix<typename C::Scalar>> const& g) {
    using T = typename C::Scalar;
    if (g.m == 0 || g.n == 0) return;
    bool const repeated = g.residual && g.residual_rows != 0 && g.residual_rows < g.m;
    bool const epilogue = g.activation != Activation::none || repeated;
    SAMED_ASSERT(!repeated || g.residual != g.out);

    Arena::Frame frame(c.arena());
    bool const apart = epilogue && g.residual == g.out;
    T* const sums = apart ? c.arena().template take<T>(std::size_t(g.m) * std::size_t(g.n)) : g.out;
    std::int64_t const stride = apart ? g.n : g.out_stride;

    Product<T> main{g.m, g.n, g.k, g.a, g.a_stride, g.weight.data, g.bias, nullptr, 0, sums, stride};
    if (g.residual && !epilogue) {
        main.addend = g.residual;
        main.addend_stride = g.residual_stride;
    }
    if (g.tail.rank > 0) {
        Product<T> tail = main;
        tail.k = g.tail.rank;
        tail.a = g.tail.xa;
        tail.a_stride = g.tail.xa_stride;
        tail.weight = g.tail.b.data;
        tail.bias = nullptr;
        c.multiply(tail);
        main.addend = sums;
        main.addend_stride = stride;
    }
    c.multiply(main);
    if (!epilogue) return;

    EpilogueArgs<T> const e{g.m,   g.n,          sums,        stride, g.residual, g.residual_stride, repeated ? g.residual_rows : 0,
                            g.out, g.out_stride, g.activation};
    constexpr int n = simt::vector<T>;
    std::int64_t const size = std::int64_t{g.m} * g.n, residual_stride = g.residual ? g.residual_stride : 0;
    if (simt::in_vectors<T>({g.n, stride, residual_stride, g.out_stride}, {sums, g.residual, g.out}))
        c.template launch<EpilogueKernel<T, n>>(simt::blocks(size, EpilogueKernel<T, n>::threads * n), e);
    else
        c.template launch<EpilogueKernel<T, 1>>(simt::blocks(size, EpilogueKernel<T, 1>::threads), e);
}

}  // namespace samed::kernels
