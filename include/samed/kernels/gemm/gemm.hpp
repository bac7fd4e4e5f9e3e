// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include <samed/core/types.hpp>
#include <samed/kernels/activation.hpp>
#include <samed/kernels/gemm/quantise.hpp>

namespace samed::kernels {

/// A weight as PyTorch stores it, [n, k] row-major. Contexts with packed weights have a type of their own in its place.
template <class T>
struct DenseMatrix {
    T const* data = nullptr;
    int n = 0, k = 0;
    Precision precision = Precision::f32;  ///< what `data` is rounded to; the narrow products round the left operand as well
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
///         at zero, then over the rank, then bias, activation, residual: the same bits for every tiling and thread count.
///         A weight of Precision::int8 or bf16_products rounds the rows of `a` as well; its sums over k are integers, or chains of
///         pairs
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

/// The left operand as the narrow products see it.
template <class T>
void round_row(Precision precision, int k, std::vector<T>& row) {
    if (precision == Precision::bf16_products)
        for (T& x : row) x = T(to_f32(to_bf16(static_cast<float>(x))));
    if (precision != Precision::int8) return;
    std::vector<float> const x(row.begin(), row.end());
    std::vector<std::uint8_t> levels(x.size());
    RowLevels const r = quantise_row(x.data(), k, levels.data());
    for (std::size_t p = 0; p < x.size(); ++p) row[p] = T(r.scale) * T(levels[p] - r.zero);
}

template <class T>
void gemm(GemmArgs<T, DenseMatrix<T>> const& g) {
    for (int i = 0; i < g.m; ++i) {
        std::vector<T> a(g.a + i * g.a_stride, g.a + i * g.a_stride + g.k);
        round_row(g.weight.precision, g.k, a);
        for (int j = 0; j < g.n; ++j) {
            T const* w = g.weight.data + std::int64_t{j} * g.k;
            T sum = 0;
            for (int p = 0; p < g.k; ++p) sum = std::fma(a[std::size_t(p)], w[p], sum);
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
