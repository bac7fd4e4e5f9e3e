// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include <samed/backend/simt_context.hpp>
#include <samed/core/simt_vector.hpp>
#include <samed/kernels/layer_norm/layer_norm.hpp>

namespace samed::kernels {

/// One warp a row, n values a lane at a time. The row is read three times, from the L1 cache after the first.
template <class T, int n>
struct LayerNormKernel {
    using Args = LayerNormArgs<T>;
    static constexpr int threads = 256, rows = threads / simt::warp;
    static std::size_t shared_bytes(Args const&) { return 0; }

    template <class S>
    SAMED_DEVICE static void run(S& s, Args const& l) {
        std::int64_t const row = std::int64_t{s.block_x()} * rows + s.thread() / simt::warp;
        if (row >= l.rows) return;
        int const lane = s.thread() % simt::warp, step = simt::warp * n;
        T const* x = l.x + row * l.width;
        float values[n], sum = 0, squares = 0;
        for (int c = lane * n; c < l.width; c += step) {
            simt::read(x + c, values);
            for (int v = 0; v < n; ++v) sum += values[v];
        }
        float const width = static_cast<float>(l.width), mean = simt::warp_sum(s, sum) / width;
        for (int c = lane * n; c < l.width; c += step) {
            simt::read(x + c, values);
            for (int v = 0; v < n; ++v) squares += (values[v] - mean) * (values[v] - mean);
        }
        float const rstd = 1.0f / std::sqrt(simt::warp_sum(s, squares) / width + l.eps);
        for (int c = lane * n; c < l.width; c += step) {
            float weight[n], bias[n];
            simt::read(x + c, values);
            simt::read(l.weight + c, weight);
            simt::read(l.bias + c, bias);
            for (int v = 0; v < n; ++v) values[v] = activate(l.activation, (values[v] - mean) * rstd * weight[v] + bias[v]);
            simt::write(values, l.out + row * l.width + c);
        }
        if (lane == 0 && l.mean) l.mean[row] = simt::store<T>(mean);
        if (lane == 0 && l.rstd) l.rstd[row] = simt::store<T>(rstd);
    }
};

template <SimtContext C>
void layer_norm(C& c, LayerNormArgs<typename C::Scalar> const& l) {
    using T = typename C::Scalar;
    constexpr int n = simt::vector<T>;
    if (l.rows == 0) return;
    if (simt::in_vectors<T>({l.width}, {l.x, l.weight, l.bias, l.out}))
        c.template launch<LayerNormKernel<T, n>>(simt::blocks(l.rows, LayerNormKernel<T, n>::rows), l);
    else
        c.template launch<LayerNormKernel<T, 1>>(simt::blocks(l.rows, LayerNormKernel<T, 1>::rows), l);
}

}  // namespace samed::kernels
