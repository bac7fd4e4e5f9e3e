// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/backend/simt_context.hpp>

namespace samed::kernels {

/// A product for what the device's library declines: odd strides and alignments. One block a tile of the output, one thread 4 x 4 of it,
/// 16 apart; every output is one chain of fused multiply-adds over k in ascending order, then bias, then addend.
template <class T>
struct ProductKernel {
    using Args = Product<T>;
    static constexpr int threads = 256;
    static constexpr int side = 64, depth = 16;              // of a tile
    static constexpr int each = side / 16, line = side + 1;  // an odd line: threads that store or load together meet different banks
    static std::size_t shared_bytes(Args const&) { return 2 * depth * line * sizeof(float); }

    template <class S>
    SAMED_DEVICE static void run(S& s, Args const& p) {
        float* const a = reinterpret_cast<float*>(s.shared());  // [depth, line]
        float* const w = a + depth * line;                      // [depth, line]
        int const first_row = s.block_x() * side, first_column = s.block_y() * side;
        int const along = s.thread() % 16, across = s.thread() / 16;
        float sums[each][each] = {};
        for (int from = 0; from < p.k; from += depth) {
            int const c = from + along;
            for (int i = 0; i < each; ++i) {
                int const at = across + 16 * i, row = first_row + at, column = first_column + at;
                a[along * line + at] = row < p.m && c < p.k ? simt::load(p.a[row * p.a_stride + c]) : 0.0f;
                w[along * line + at] = column < p.n && c < p.k ? simt::load(p.weight[std::int64_t{column} * p.k + c]) : 0.0f;
            }
            s.sync();
            int const columns = p.k - from < depth ? p.k - from : depth;
            for (int d = 0; d < columns; ++d)
                for (int i = 0; i < each; ++i)
                    for (int j = 0; j < each; ++j)
                        sums[i][j] = std::fma(a[d * line + across + 16 * i], w[d * line + along + 16 * j], sums[i][j]);
            s.sync();  // before the tile is stored over
        }
        for (int i = 0; i < each; ++i)
            for (int j = 0; j < each; ++j) {
                int const row = first_row + across + 16 * i, column = first_column + along + 16 * j;
                if (row >= p.m || column >= p.n) continue;
                float sum = sums[i][j];
                if (p.bias) sum += simt::load(p.bias[column]);
                if (p.addend) sum += simt::load(p.addend[row * p.addend_stride + column]);
                p.out[row * p.out_stride + column] = simt::store<T>(sum);
            }
    }
};

template <SimtContext C>
void product(C& c, Product<typename C::Scalar> const& p) {
    using Kernel = ProductKernel<typename C::Scalar>;
    if (p.m == 0 || p.n == 0) return;
    simt::Grid grid = simt::blocks(p.m, Kernel::side);
    grid.y = simt::blocks(p.n, Kernel::side).x;
    c.template launch<Kernel>(grid, p);
}

}  // namespace samed::kernels
