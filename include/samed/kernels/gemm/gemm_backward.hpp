// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>

namespace samed::kernels {

/// Gradients of the weight and the bias of out = a * weight^T + bias. That of `a` is a GEMM with the transposed weight, whose
/// residual is the gradient so far.
///
/// As in every backward pass here, gradients are added to what the buffers hold, and a null buffer is no work.
/// @param  a            [m, k], rows `a_stride` apart
/// @param  grad_out     [m, n], rows `grad_out_stride` apart
/// @param  grad_weight  [n, k] or null, += grad_out^T a
/// @param  grad_bias    [n] or null, += the sum of grad_out's rows
/// @cost   m * n * k multiply-adds; every sum is one chain over m in ascending order: the same bits for every thread count
template <class T>
struct GemmBackwardArgs {
    int m = 0, n = 0, k = 0;
    T const* a = nullptr;
    std::int64_t a_stride = 0;
    T const* grad_out = nullptr;
    std::int64_t grad_out_stride = 0;
    T* grad_weight = nullptr;
    T* grad_bias = nullptr;
};

namespace reference {

template <class T>
void gemm_backward(GemmBackwardArgs<T> const& g) {
    for (int j = 0; j < g.n; ++j) {
        for (int p = 0; g.grad_weight && p < g.k; ++p) {
            T sum = 0;
            for (int i = 0; i < g.m; ++i) sum = std::fma(g.grad_out[i * g.grad_out_stride + j], g.a[i * g.a_stride + p], sum);
            g.grad_weight[std::int64_t{j} * g.k + p] += sum;
        }
        if (!g.grad_bias) continue;
        T sum = 0;
        for (int i = 0; i < g.m; ++i) sum += g.grad_out[i * g.grad_out_stride + j];
        g.grad_bias[j] += sum;
    }
}

}  // namespace reference
}  // namespace samed::kernels
