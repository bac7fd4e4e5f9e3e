// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <samed/core/types.hpp>
#include <samed/kernels/activation.hpp>

namespace samed::kernels {

/// A weight as PyTorch stores it, [n, k] row-major. Contexts with packed weights have a type of their own in its place.
template <class T>
struct DenseMatrix {
    T const* data = nullptr;
    int n = 0, k = 0;
};

/// Low-rank tail of a GEMM: out += xa * b^T before anything else is applied. LoRA left unmerged costs `rank` more FMAs an output.
template <class T, class Matrix>
struct LowRankTail {
    T const* xa = nullptr;  ///< [m, rank], A x
    std::int64_t xa_stride = 0;
    Matrix b{};             ///< [n, rank]
    int rank = 0;           ///< 0 = no tail
};

/// out = activation(a * weight^T + tail + bias) + residual
///
/// @param  a         [m, k], rows `a_stride` apart
/// @param  weight    [n, k]
/// @param  bias      [n] or null
/// @param  residual  [m, n], rows `residual_stride` apart, repeated every `residual_rows` rows (0: m), or null; may be `out`
/// @param  out       [m, n], rows `out_stride` apart; must not overlap `a`
/// @cost   m * n * (k + rank) multiply-adds; every output is ONE chain of fused multiply-adds over k in ascending order, starting
///         at zero, then over the rank, then bias, activation, residual: the same bits for every tiling and thread count
template <class T, class Matrix>
struct GemmArgs {
    int m = 0, n = 0, k = 0;
    T const* a = nullptr;
    std::int64_t a_stride = 0;
    Matrix weight{};
    T const* bias = nullptr;
    T const* residual = nullptr;
    std::int64_t residual_stride = 0;
    int residual_rows = 0;
    T* out = nullptr;
    std::int64_t out_stride = 0;
    Activation activation = Activation::none;
    LowRankTail<T, Matrix> tail{};
};

namespace reference {

template <class T>
void gemm(GemmArgs<T, DenseMatrix<T>> const& g) {
    for (int i = 0; i < g.m; ++i) {
        T const* a = g.a + i * g.a_stride;
        for (int j = 0; j < g.n; ++j) {
            T const* w = g.weight.data + std::int64_t{j} * g.k;
            T sum = 0;
            for (int p = 0; p < g.k; ++p) sum = std::fma(a[p], w[p], sum);
            for (int p = 0; p < g.tail.rank; ++p)
                sum = std::fma(g.tail.xa[i * g.tail.xa_stride + p], g.tail.b.data[std::int64_t{j} * g.tail.rank + p], sum);
            if (g.bias) sum += g.bias[j];
            sum = activate(g.activation, sum);
            if (g.residual) sum += g.residual[(g.residual_rows ? i % g.residual_rows : i) * g.residual_stride + j];
            g.out[i * g.out_stride + j] = sum;
        }
    }
}

}  // namespace reference
}  // namespace samed::kernels
