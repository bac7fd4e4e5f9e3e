// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/kernels/conv_transpose2d/conv_transpose2d.hpp>
#include <samed/kernels/gemm/gemm_cpu.hpp>

namespace samed::kernels {

/// A GEMM whose write-back puts the four pixels of every row in place.
inline void conv_transpose2d(CpuContext& c, ConvTranspose2dArgs<float, PackedMatrix> const& a) {
    GemmProblem g;
    g.m = a.batch * a.height * a.width;
    g.n = 4 * a.out_channels;
    g.k = a.channels;
    if (g.m == 0 || g.n == 0) return;
    StridedRows const rows(a.x, a.channels, a.channels);
    g.rows = &rows;
    g.weight = a.weight;
    g.bias = a.bias;
    g.activation = a.activation;
    g.out = a.out;
    g.scatter_width = a.width;
    run_gemm(c, g);
}

}  // namespace samed::kernels
