// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/kernels/conv2d/conv2d.hpp>
#include <samed/kernels/gemm/gemm_cpu.hpp>

namespace samed::kernels {

/// Rows of the im2col matrix, never formed: with innermost channels every (row, column) of the kernel is a contiguous segment.
class ConvRows final : public RowSource {
public:
    using Args = Conv2dArgs<float, PackedMatrix>;
    /// @param zeros  `channels` zeros, what positions outside the image read
    ConvRows(Args const& args, float const* zeros) : RowSource(args.kernel * args.kernel, args.channels, false), c_(args), zeros_(zeros) {}
    float const* locate(int row, int segment, float*) const override {
        int const out_w = c_.out_width(), out_h = c_.out_height();
        int const y = row / out_w % out_h * c_.stride - c_.padding + segment / c_.kernel;
        int const x = row % out_w * c_.stride - c_.padding + segment % c_.kernel;
        if (y < 0 || y >= c_.height || x < 0 || x >= c_.width) return zeros_;
        return c_.x + row / (out_w * out_h) * c_.batch_stride + y * c_.row_stride + x * c_.column_stride;
    }

private:
    Args const& c_;
    float const* zeros_;
};

/// The same for any strides (planar images): gathers a whole row.
class GatheredConvRows final : public RowSource {
public:
    using Args = Conv2dArgs<float, PackedMatrix>;
    explicit GatheredConvRows(Args const& args) : RowSource(1, args.kernel * args.kernel * args.channels, true), c_(args) {}
    float const* locate(int row, int, float* line) const override {
        int const out_w = c_.out_width(), out_h = c_.out_height();
        int const top = row / out_w % out_h * c_.stride - c_.padding, left = row % out_w * c_.stride - c_.padding;
        float const* image = c_.x + row / (out_w * out_h) * c_.batch_stride;
        for (int i = 0; i < c_.kernel; ++i)
            for (int j = 0; j < c_.kernel; ++j) {
                int const y = top + i, x = left + j;
                bool const inside = y >= 0 && y < c_.height && x >= 0 && x < c_.width;
                float const* pixel = image + y * c_.row_stride + x * c_.column_stride;
                float* out = line + (i * c_.kernel + j) * c_.channels;
                for (int ch = 0; ch < c_.channels; ++ch) out[ch] = inside ? pixel[ch * c_.channel_stride] : 0.0f;
            }
        return line;
    }

private:
    Args const& c_;
};

inline void conv2d(CpuContext& c, Conv2dArgs<float, PackedMatrix> const& a) {
    GemmProblem g;
    g.m = a.batch * a.out_height() * a.out_width();
    g.n = a.out_channels;
    g.k = a.kernel * a.kernel * a.channels;
    if (g.m == 0 || g.n == 0) return;
    g.weight = a.weight;
    g.bias = a.bias;
    g.activation = a.activation;
    g.residual = a.residual;
    g.residual_stride = a.out_channels;
    g.residual_rows = a.out_height() * a.out_width();
    g.out = a.out;
    g.out_stride = a.out_channels;
    if (a.channel_stride == 1) {
        Arena::Frame frame(c.arena());
        float* zeros = c.arena().take<float>(std::size_t(a.channels));
        if (!c.planning()) std::fill_n(zeros, a.channels, 0.0f);
        ConvRows const rows(a, zeros);
        g.rows = &rows;
        run_gemm(c, g);
    } else {
        GatheredConvRows const rows(a);
        g.rows = &rows;
        run_gemm(c, g);
    }
}

}  // namespace samed::kernels
